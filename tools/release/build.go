package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// settled is the environment of a build: what a machine or a person has set for Go doesn't
// reach it, but for where Go has its caches and gets modules from.
func settled(arch string) []string {
	var env []string
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOOS", "GOARCH", "CGO_ENABLED", "GOFIPS140", "GODEBUG", "GOWORK":
		default:
			env = append(env, v)
		}
	}
	return append(env, "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOWORK=off", "GOFLAGS=-mod=readonly")
}

// tree is the sources, and the architecture that they are built for.
type tree struct{ dir, arch string }

// run is the output of a Go command there.
func (t tree) run(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = t.dir, settled(t.arch)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %v: %s", args[0], err, bytes.TrimSpace(errs.Bytes()))
	}
	return out, nil
}

// build makes the binary. Neither the folder nor the state of a
// repository gets into it: -trimpath, -buildvcs=false, and no build ID.
func (t tree) build(to, version string) error {
	flags := "-s -w -buildid= -X gopm/cmd.version=" + version
	if _, err := t.run("build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", to, "./cmd/gopm"); err != nil {
		return err
	}
	return t.inspect(to)
}

// inspect sees that a binary is what it is called: of that architecture, static, and
// without a word of the folder that it was built in.
func (t tree) inspect(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %v", path, err)
	}
	defer f.Close()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[t.arch]
	if f.Machine != machine {
		return fmt.Errorf("%s is for %v, want %v", path, f.Machine, machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("%s is not static", path)
		}
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "CGO_ENABLED" && s.Value != "0" {
			return fmt.Errorf("%s was built with %s=%s", path, s.Key, s.Value)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	here, err := filepath.Abs(t.dir)
	if err == nil && bytes.Contains(text, []byte(here+"/")) {
		err = fmt.Errorf("%s has the folder %s in it, which it was built in", path, here)
	}
	return err
}
