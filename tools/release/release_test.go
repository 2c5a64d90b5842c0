package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSameBytesFromAnywhere builds the binary from two copies of the sources in folders of
// different names. `make release-check` does that without a cache, and with all archives.
func TestSameBytesFromAnywhere(t *testing.T) {
	t.Parallel()
	var sums []string
	for _, folder := range []string{"a", "another/and/longer"} {
		dir := filepath.Join(t.TempDir(), folder)
		copySources(t, dir)
		binary := filepath.Join(t.TempDir(), "gopm")
		if err := (tree{dir, "amd64"}).build(binary, "v1"); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, fmt.Sprintf("%x", sha256.Sum256(text)))
		if err := (tree{dir, "arm64"}).inspect(binary); err == nil || !strings.Contains(err.Error(), "want EM_AARCH64") {
			t.Errorf("a binary of another architecture: %v", err)
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("the sums %s", strings.Join(sums, " and "))
	}
}

// copySources copies the module without what isn't its source.
func copySources(t *testing.T, to string) {
	t.Helper()
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist", "examples", "bench", "node_modules"}, rel):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular() || strings.HasSuffix(rel, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestArchive: its bytes are those of its content and of the time that it is given.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary := filepath.Join(dir, "binary")
	pack := func(content string, at time.Time) string {
		if err := os.WriteFile(binary, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		sum, err := pack(filepath.Join(dir, "x.tar.gz"), "x", at, []entry{{"gopm", binary, nil, 0o755}, {"LICENSE", "", []byte("free"), 0o644}})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sum)
	}
	at := time.Unix(1_700_000_000, 0)
	first := pack("a", at)
	if again := pack("a", at.In(time.FixedZone("x", 7200))); again != first {
		t.Error("packed twice it is another")
	}
	if pack("b", at) == first || pack("a", at.Add(time.Second)) == first {
		t.Error("what is in it changes nothing")
	}
}

// TestThirdParty: every module that is linked is named with its licence.
func TestThirdParty(t *testing.T) {
	t.Parallel()
	source := tree{"../..", "amd64"}
	text, err := source.thirdParty()
	if err != nil {
		t.Fatal(err)
	}
	all, err := source.linked()
	if err != nil || len(all) < 10 {
		t.Fatalf("%d modules, %v", len(all), err)
	}
	for _, m := range all {
		if !bytes.Contains(text, []byte("  "+m.Path+" "+m.Version+"\n")) || bytes.Count(text, []byte(m.Path+" "+m.Version+"\n")) < 2 {
			t.Errorf("%s is missing", m.Path)
		}
	}
	if _, err := licences(module{Path: "x", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("a module without a licence: %v", err)
	}
}

func TestBuiltAt(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "0": 0, "1700000000": 1_700_000_000, "-1": -1, "now": -1} {
		t.Setenv("SOURCE_DATE_EPOCH", text)
		at, err := builtAt()
		if (err != nil) != (want < 0) || err == nil && at.Unix() != want {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
}
