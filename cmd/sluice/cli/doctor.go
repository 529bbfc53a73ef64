package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"sluice.io/sluice/cmd/sluice/node"
)

func (a *app) doctorCommand() *cobra.Command {
	var health bool
	c := &cobra.Command{
		Use: "doctor", Short: "Check settings, broker, lake and ports, and say what is wrong", Args: cobra.NoArgs,
		Long: "Check what a node would be started with: settings, folders, ports, broker, lake. With --health ask a running node instead,\n" +
			"as a container's health check does.",
	}
	client := a.restFlag(c)
	load := a.settingFlags(c, nil)
	c.Flags().BoolVar(&health, "health", false, "only ask the running node at --url")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if health {
			return a.askHealth(cmd.Context(), client)
		}
		s, err := load()
		if err != nil {
			return err
		}
		findings := node.Diagnose(cmd.Context(), s)
		bad := 0
		for _, f := range findings {
			if f.Problem != "" {
				bad++
			}
		}
		if a.output == "json" {
			if err := a.json(findings); err != nil {
				return err
			}
		} else {
			var rows [][]string
			for _, f := range findings {
				verdict := "ok"
				text := f.Note
				if f.Problem != "" {
					verdict, text = "BAD", f.Problem
				}
				rows = append(rows, []string{verdict, f.What, text})
			}
			if err := a.columns(nil, rows); err != nil {
				return err
			}
		}
		if bad > 0 {
			return foundError{fmt.Errorf("%d problems", bad)}
		}
		return nil
	}
	return c
}

func (a *app) askHealth(ctx context.Context, client clientFunc) error {
	r, err := client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var h struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	_, err = r.do(ctx, http.MethodGet, "/health", nil, &h)
	var rest *restError
	if errors.As(err, &rest) {
		return fmt.Errorf("the node at %s is not well: %s", r.base, rest.Message)
	}
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.json(h)
	}
	_, err = fmt.Fprintf(a.Out, "%s: %s\n", h.Status, h.Message)
	return err
}
