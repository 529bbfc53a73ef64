// Protogen writes the Go code of the .proto files below proto/, without protoc: protocompile reads and links them, and
// the generator that go.mod pins as a tool writes the code.
//
//	go run ./internal/tools/protogen          writes
//	go run ./internal/tools/protogen -check   fails when what is committed is not what would be written
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	check := flag.Bool("check", false, "fail when the committed code is not current, write nothing")
	flag.Parse()
	if err := run(context.Background(), *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, check bool) error {
	root, err := repoRoot()
	if err != nil {
		return err
	}
	files, err := Generate(ctx, root)
	if err != nil {
		return err
	}
	var stale []string
	for name, text := range files {
		path := filepath.Join(root, name)
		old, err := os.ReadFile(path)
		if err == nil && bytes.Equal(old, text) {
			continue
		}
		if check {
			stale = append(stale, name)
			continue
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return fmt.Errorf("write generated code: %w", err)
		}
		fmt.Println("wrote", name)
	}
	if len(stale) > 0 {
		slices.Sort(stale)
		return fmt.Errorf("not current: %s; run: go run ./internal/tools/protogen", strings.Join(stale, ", "))
	}
	return nil
}

// Generate gives the generated files by their path below the repository's root.
func Generate(ctx context.Context, root string) (map[string][]byte, error) {
	dir := filepath.Join(root, "proto")
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".proto") {
			rel, rerr := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(rel))
			return rerr
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for .proto files: %w", err)
	}
	slices.Sort(names)
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	linked, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("compile .proto files: %w", err)
	}
	req := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("module=sluice.io/sluice"),
	}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		req.ProtoFile = append(req.ProtoFile, fileProto(fd))
	}
	for _, fd := range linked {
		add(fd)
	}
	resp, err := generate(ctx, root, req)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, f := range resp.GetFile() {
		out[f.GetName()] = []byte(f.GetContent())
	}
	return out, nil
}

func fileProto(fd protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	return protoutil.ProtoFromFileDescriptor(fd)
}

func generate(ctx context.Context, root string, req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("marshal request of generator: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "protoc-gen-go")
	cmd.Dir = root
	cmd.Stdin = bytes.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run go tool protoc-gen-go: %w: %s", err, stderr.String())
	}
	resp := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(stdout.Bytes(), resp); err != nil {
		return nil, fmt.Errorf("read answer of generator: %w", err)
	}
	if resp.Error != nil {
		return nil, errors.New(resp.GetError())
	}
	return resp, nil
}

// repoRoot is the folder of go.mod at or above the working folder.
func repoRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find working folder: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod at or above the working folder")
		}
		dir = parent
	}
}
