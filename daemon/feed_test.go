package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/logs"
)

// feedStream is a stream and what writes a line to it, and waits until it is in the file.
func feedStream(t *testing.T, p *logs.Pump, name string) (*logs.Stream, func()) {
	t.Helper()
	s, err := p.Open(logs.Target{Path: filepath.Join(t.TempDir(), name), UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.ChildFile()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return s, func() {
		if _, err := fmt.Fprintln(w, "text"); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	p, err := logs.NewPump(logs.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	f := newFeed(p)
	a, writeA := feedStream(t, p, "a.log")
	b, writeB := feedStream(t, p, "b.log")
	seq, err := f.join()
	if err != nil {
		t.Fatal(err)
	}
	// grown waits for the next news after seq.
	grown := func(seq uint64) ([]*logs.Stream, uint64) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			streams, now, more := f.since(seq)
			if len(streams) > 0 {
				return streams, now
			}
			select {
			case <-more:
			case <-deadline:
				t.Fatal("nothing grew")
			}
		}
	}
	writeA()
	streams, first := grown(seq)
	if !slices.Equal(streams, []*logs.Stream{a}) {
		t.Errorf("after a: %v", streams)
	}
	writeB()
	if streams, _ = grown(first); !slices.Equal(streams, []*logs.Stream{b}) {
		t.Errorf("after b: %v", streams)
	}
	if streams, _ = grown(seq); !slices.Equal(streams, []*logs.Stream{a, b}) { // who was slow is told once of each, in the order in which they spoke
		t.Errorf("of both: %v", streams)
	}
	f.forget(b)
	if streams, _ = grown(seq); !slices.Equal(streams, []*logs.Stream{a}) {
		t.Errorf("after b was closed: %v", streams)
	}
	f.leave()
	if f.grown.Len() > 0 || len(f.at) > 0 {
		t.Error("with nobody interested it keeps streams")
	}
}

func TestFeedIsBounded(t *testing.T) {
	t.Parallel()
	p, err := logs.NewPump(logs.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	f := newFeed(p)
	for range maxFollowers {
		if _, err := f.join(); err != nil {
			t.Fatal(err)
		}
	}
	var refused *api.Error
	if _, err := f.join(); !errors.As(err, &refused) || refused.Kind.Status() != 503 {
		t.Errorf("one too many: %v", err)
	}
	f.leave()
	if _, err := f.join(); err != nil {
		t.Errorf("after one left: %v", err)
	}
}
