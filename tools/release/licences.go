package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// module is one whose code is linked.
type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
}

// linked are the modules of the binary, by path.
func (t tree) linked() ([]module, error) {
	out, err := t.run("list", "-deps", "-json=Module", "./cmd/gopm")
	if err != nil {
		return nil, err
	}
	all := map[string]module{}
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if m := p.Module; m != nil && !m.Main {
			if m.Replace != nil {
				m = m.Replace
			}
			all[m.Path] = *m
		}
	}
	var list []module
	for _, m := range all {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// thirdParty is the text of all licences and notices of what is linked, Go's own first.
func (t tree) thirdParty() ([]byte, error) {
	out, err := t.run("env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, err
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	all, err := t.linked()
	if err != nil {
		return nil, err
	}
	all = slices.Insert(all, 0, module{Path: "Go, its runtime and library", Version: version, Dir: root})
	var b bytes.Buffer
	b.WriteString("gopm has code of these in it. The source of each is at https://pkg.go.dev under its name.\n\n")
	for _, m := range all {
		fmt.Fprintf(&b, "  %s %s\n", m.Path, m.Version)
	}
	for _, m := range all {
		texts, err := licences(m)
		if err != nil {
			return nil, err
		}
		for _, text := range texts {
			fmt.Fprintf(&b, "\n%s\n%s %s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, text)
		}
	}
	return b.Bytes(), nil
}

// licences are the texts in a module's folder. One without any can't be given to others.
func licences(m module) (texts [][]byte, err error) {
	names, err := os.ReadDir(m.Dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %v", m.Path, err)
	}
	found := false
	for _, n := range names {
		upper := strings.ToUpper(n.Name())
		is := strings.HasPrefix(upper, "LICENSE") || strings.HasPrefix(upper, "LICENCE") || strings.HasPrefix(upper, "COPYING")
		if n.IsDir() || strings.HasSuffix(upper, ".GO") || !is && !strings.HasPrefix(upper, "NOTICE") && !strings.HasPrefix(upper, "PATENTS") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, n.Name()))
		if err != nil {
			return nil, err
		}
		found = found || is
		texts = append(texts, bytes.TrimSpace(text))
	}
	if !found {
		return nil, fmt.Errorf("%s %s has no licence in %s: it must not be linked", m.Path, m.Version, m.Dir)
	}
	return texts, nil
}
