package main

import (
	"testing"
)

func TestGeneratedCodeIsCurrent(t *testing.T) {
	t.Chdir("../../..")
	if err := run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}
