package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSharedFileNeverMixesLines: several streams, one file, under several names.
func TestSharedFileNeverMixesLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	path := filepath.Join(dir, "a.log")
	link, hard := filepath.Join(dir, "link.log"), filepath.Join(dir, "hard.log")
	p, _ := startPump(t)
	first, w := openStream(t, p, Target{Path: path})
	write(t, w, "spliced\n")
	flush(t, first)
	if err := os.Symlink("a.log", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, hard); err != nil {
		t.Fatal(err)
	}
	streams := []*Stream{first}
	writers := []*os.File{w}
	for _, name := range []string{path, link, hard} {
		s, w := openStream(t, p, Target{Path: name})
		streams, writers = append(streams, s), append(writers, w)
	}
	const each = 2000
	var wg sync.WaitGroup
	for i, w := range writers {
		wg.Go(func() { // ends after its lines; wg waits
			line := bytes.Repeat([]byte{byte('a' + i)}, 50+i*40)
			line = append(line, '\n')
			for range each {
				w.Write(line[:20]) // a line in two writes
				w.Write(line[20:])
			}
		})
	}
	wg.Wait()
	for _, s := range streams {
		flush(t, s)
	}
	lines := strings.Split(strings.TrimSuffix(content(t, path), "\n"), "\n")
	if want := 1 + each*len(streams); len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
	for _, l := range lines[1:] {
		if i := int(l[0] - 'a'); l != strings.Repeat(l[:1], 50+i*40) {
			t.Fatalf("mixed line %q", l)
		}
	}
}

// TestSharedFileSplitsEndlessLines: the cap of 64 KiB holds.
func TestSharedFileSplitsEndlessLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	a, w := openStream(t, p, Target{Path: path})
	b, w2 := openStream(t, p, Target{Path: path})
	write(t, w, strings.Repeat("a", 300_000))
	write(t, w2, "whole\n")
	flush(t, b)
	flush(t, a)
	text := content(t, path)
	if n := strings.Count(text, "a"); n != 300_000 {
		t.Errorf("%d of 300000 bytes", n)
	}
	for l := range strings.Lines(text) {
		if strings.Contains(l, "w") && l != "whole\n" || len(l) > 2*pipeChunk+1 {
			t.Errorf("line of %d bytes: %.20q", len(l), l)
		}
	}
}

func TestPartialLineBeforeSharing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	a, w := openStream(t, p, Target{Path: path})
	write(t, w, "begun")
	flush(t, a)
	b, w2 := openStream(t, p, Target{Path: path})
	write(t, w2, "other\n")
	flush(t, b)
	if got := content(t, path); got != "begun\nother\n" {
		t.Errorf("log has %q", got)
	}
}

func TestTruncatedFileGoesOnAtItsEnd(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "a.log")
		p, _ := startPump(t)
		s, w := openStream(t, p, Target{Path: path})
		if shared {
			openStream(t, p, Target{Path: path})
		}
		write(t, w, "before\n")
		flush(t, s)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		write(t, w, "after\n")
		flush(t, s)
		if got := content(t, path); got != "after\n" {
			t.Errorf("shared %v: log has %q", shared, got)
		}
	}
}

func TestDeletedFileIsMadeAgain(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "sub", "a.log")
		p, _ := startPump(t)
		s, w := openStream(t, p, Target{Path: path})
		if shared {
			openStream(t, p, Target{Path: path})
		}
		write(t, w, "before\n")
		flush(t, s)
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		write(t, w, "after\n")
		flush(t, s)
		if got := content(t, path); got != "after\n" {
			t.Errorf("shared %v: log has %q", shared, got)
		}
	}
}

// TestDeletedFolderThatCannotBeMade: counted until it can.
func TestDeletedFolderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sub")
	path := filepath.Join(dir, "a.log")
	p, log := startPump(t)
	s, w := openStream(t, p, Target{Path: path})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in the folder's place
		t.Fatal(err)
	}
	write(t, w, "lost\n")
	flush(t, s)
	if st := s.Stats(); st.Dropped != 5 || st.Error == "" || st.DroppedSince == "" {
		t.Errorf("stats %+v", st)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		write(t, w, "found\n")
		flush(t, s)
		if st := s.Stats(); st.Error != "" {
			return fmt.Errorf("still %s", st.Error)
		}
		return nil
	})
	write(t, w, "found\n") // it may have been opened again after the last one was dropped
	flush(t, s)
	if got := content(t, path); strings.Trim(got, "\n") == "" || strings.Contains(got, "lost") {
		t.Errorf("log has %q", got)
	}
	if log.count("takes nothing") != 1 || log.count("takes output again") != 1 {
		t.Errorf("the daemon's log has %q", log.lines)
	}
}

// TestMovedFileKeepsWhatItHas: an external rotation is not undone by ours.
func TestMovedFileKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 10}})
	write(t, w, "1234567\n")
	flush(t, s)
	if err := os.Rename(path, filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	write(t, w, "890\n")
	flush(t, s)
	if got := content(t, filepath.Join(dir, "moved")) + "|" + content(t, path); got != "1234567\n|890\n" {
		t.Errorf("files have %q", got)
	}
	if n := len(files(t, path)); n != 1 {
		t.Errorf("%d files", n)
	}
}

func TestFullDeviceDropsAndCounts(t *testing.T) {
	t.Parallel()
	p, log := startPump(t)
	s, w := openStream(t, p, Target{Path: "/dev/full"})
	const lines = 5000
	for i := range lines {
		write(t, w, string(numbered(i)))
	}
	flush(t, s)
	st := s.Stats()
	if st.Dropped != lines*lineLength || st.Bytes != 0 {
		t.Errorf("stats %+v", st)
	}
	if !strings.Contains(st.Error, "no space left") {
		t.Errorf("error %q", st.Error)
	}
	if log.count("space is freed") != 1 {
		t.Errorf("the daemon's log has %q", log.lines)
	}
}

func TestNowhere(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	for _, path := range []string{"", os.DevNull} {
		s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 10}})
		write(t, w, strings.Repeat("x", 200_000))
		flush(t, s)
		if st := s.Stats(); st.Bytes != 200_000 || st.Dropped != 0 {
			t.Errorf("%q: stats %+v", path, st)
		}
		if m := s.Mark(); m != (Mark{}) {
			t.Errorf("%q: mark %+v", path, m)
		}
	}
}

// TestFileThatCannotBeSpliced: a file system that refuses it (here: O_APPEND) is written to as usual.
func TestFileThatCannotBeSpliced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 1000}})
	if err := p.do(context.Background(), func() {
		unix.FcntlInt(uintptr(s.outs[0].sink.fd), unix.F_SETFL, unix.O_APPEND)
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		write(t, w, string(numbered(i)))
	}
	flush(t, s)
	next := 0
	for _, f := range files(t, path) {
		next = checkNumbered(t, f, next, 1000)
	}
	if next != 100 {
		t.Errorf("%d lines", next)
	}
}
