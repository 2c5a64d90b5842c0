package logs

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unpacked is the content of a file, compressed or not.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, packedExt) {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(b)
}

// TestCompress: every rotated file becomes a .gz, complete, with its mode.
func TestCompress(t *testing.T) {
	t.Parallel()
	const lines, retain = 2000, 5
	for _, keep := range []int{0, retain} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.log")
		p, log := startPump(t)
		s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 10_000, Retain: keep, Compress: true}})
		for i := range lines {
			write(t, w, string(numbered(i)))
		}
		flush(t, s)
		eventually(t, func() error {
			for _, name := range listFolder(dir) {
				if name != "a.log" && !strings.HasSuffix(name, packedExt) {
					return fmt.Errorf("%s is there", name)
				}
			}
			if n := len(listFolder(dir)); keep > 0 && n > keep+1 {
				return fmt.Errorf("%d files", n)
			}
			return nil
		})
		var all strings.Builder
		names := files(t, path)
		for _, name := range names {
			if fi, err := os.Stat(name); err != nil || fi.Mode() != 0o600 {
				t.Errorf("%s: %v, %v", name, fi.Mode(), err)
			}
			all.WriteString(unpacked(t, name))
		}
		next := lines - strings.Count(all.String(), "\n")
		if keep == 0 && next != 0 {
			t.Errorf("%d lines are missing", next)
		}
		for line := range strings.Lines(all.String()) {
			if line != string(numbered(next)) {
				t.Fatalf("line %d is %q", next, line)
			}
			next++
		}
		if len(log.lines) > 0 {
			t.Errorf("the daemon's log has %q", log.lines)
		}
	}
}

// idle says that everything is compressed.
func (k *packer) idle() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.working != nil {
		return fmt.Errorf("at work")
	}
	return nil
}

// TestRetentionMeetsCompression: a file that was too old, and could not be removed because
// it had just got the name of its copy, doesn't stay until the next rotation.
func TestRetentionMeetsCompression(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for day := 1; day <= 7; day++ {
		put(t, fmt.Sprintf("%s/a-2026-01-0%dT00-00-00.000.log", dir, day), "text\n")
	}
	k := &packer{log: t.Logf}
	k.add(&history{path: filepath.Join(dir, "a.log")}, Rotation{Retain: 3, Compress: true})
	eventually(t, k.idle)
	eventually(t, func() error {
		if names := listFolder(dir); len(names) != 3 || names[0] != "a-2026-01-05T00-00-00.000.log.gz" {
			return fmt.Errorf("files %q", names)
		}
		return nil
	})
	<-k.close()
}

// TestCompressAfterAnInterruption: what was left is cleared away, and all that is plain compressed.
func TestCompressAfterAnInterruption(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	old := time.Date(2026, 1, 1, 2, 3, 4, 0, time.UTC)
	whole := filepath.Join(dir, "a-2026-01-01T00-00-00.000.log")
	both := filepath.Join(dir, "a-2026-01-02T00-00-00.000.log")
	foreign := filepath.Join(dir, "a-of-somebody.log.gz.tmp")
	for name, text := range map[string]string{
		path: "live\n", whole: "whole\n", whole + packingExt: "half", both: "both\n", both + packedExt: "half", foreign: "foreign",
	} {
		if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(name, old, old)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(secret, []byte("secret"), 0o600)
	os.Symlink(secret, filepath.Join(dir, "a-2026-01-03T00-00-00.000.log"))
	log := &pumpLog{}
	k := &packer{log: log.printf}
	k.add(&history{path: path}, Rotation{Compress: true})
	eventually(t, k.idle)
	<-k.close()
	for name, want := range map[string]string{whole: "whole\n", both: "both\n"} {
		if got := unpacked(t, name+packedExt); got != want {
			t.Errorf("%s has %q", name, got)
		}
		fi, err := os.Stat(name + packedExt)
		if err != nil || !fi.ModTime().Equal(old) || fi.Mode() != 0o640 {
			t.Errorf("%s: %v, %v, %v", name, fi.ModTime(), fi.Mode(), err)
		}
	}
	if n := len(listFolder(dir)); n != 5 || content(t, path) != "live\n" {
		t.Errorf("files %q", listFolder(dir))
	}
	if log.count("cannot compress") != 1 { // the link
		t.Errorf("said %q", log.lines)
	}
}

// TestCompressIsInterrupted: the plain file stays, and no half of a copy.
func TestCompressIsInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a-2026-01-01T00-00-00.000.log")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &packer{log: t.Logf}
	opened := open(t, dir)
	k.stop.Store(true)
	if err := k.pack(opened, filepath.Base(name), gzip.NewWriter(nil)); err != errStopped {
		t.Errorf("%v", err)
	}
	if names := listFolder(dir); len(names) != 1 {
		t.Errorf("files %q", names)
	}
	k.add(&history{path: filepath.Join(dir, "a.log")}, Rotation{Compress: true})
	<-k.close()
	if names := listFolder(dir); len(names) != 1 {
		t.Errorf("files %q", names)
	}
}

// TestCompressedWhileRemoved: the copy of a file that was too old meanwhile goes with it.
func TestCompressedWhileRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a-2026-01-01T00-00-00.000.log")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	k := &packer{log: t.Logf}
	opened := open(t, dir)
	if err := k.pack(opened, filepath.Base(name), gzip.NewWriter(nil)); err == nil {
		t.Error("a FIFO was compressed")
	}
	os.Remove(name)
	if err := k.pack(opened, filepath.Base(name), gzip.NewWriter(nil)); err == nil {
		t.Error("nothing was compressed")
	}
	if names := listFolder(dir); len(names) != 0 {
		t.Errorf("files %q", names)
	}
}

// open opens a folder for the time of the test.
func open(t *testing.T, dir string) folder {
	t.Helper()
	f, err := openFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}
