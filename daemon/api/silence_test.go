package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// impatient is a client of a socket at which nobody answers yet.
func impatient(t *testing.T) (c *Client, l net.Listener, told *[]string) {
	t.Helper()
	home := Home{t.TempDir()}
	l, err := net.Listen("unix", filepath.Join(home.Dir, "gopm.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	told = &[]string{}
	c = NewClient(home, "v2", nil)
	c.silence = silence{look: time.Millisecond, ping: 5 * time.Millisecond, end: 100 * time.Millisecond}
	c.OnTrouble(func(text string) { *told = append(*told, text) })
	return c, l, told
}

func TestDaemonThatHangs(t *testing.T) {
	t.Parallel()
	c, _, told := impatient(t)
	for _, ask := range []func() error{
		func() error { return c.Get(context.Background(), PathPing, nil, &Ping{}) },
		func() error { return c.Post(context.Background(), PathStop, Targets{}, &Outcome{}) },
		func() error { _, err := c.Instances(context.Background(), nil); return err },
	} {
		*told = nil
		var hung *HungError
		if err := ask(); !errors.As(err, &hung) {
			t.Error(err)
		}
		if len(*told) != 1 || !strings.Contains((*told)[0], "still waiting") {
			t.Errorf("told: %q", *told)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.Get(ctx, PathPing, nil, &Ping{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the caller's own limit: %v", err)
	}
}

// An app may take minutes to stop: as long as the daemon answers others, nothing is said.
func TestAnswerThatTakesLong(t *testing.T) {
	t.Parallel()
	c, l, told := impatient(t)
	c.silence.ping, c.silence.end = 10*time.Second, time.Millisecond
	var pings atomic.Int32
	enough := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc(PathPing, func(http.ResponseWriter, *http.Request) {
		if pings.Add(1) == 3 {
			close(enough)
		}
	})
	mux.HandleFunc(PathStop, func(w http.ResponseWriter, _ *http.Request) {
		<-enough
		_, _ = w.Write([]byte(`{"apps": []}`))
	})
	srv := &http.Server{Handler: mux}
	ended := make(chan struct{})
	go func() { // ended by Close; waited for by Cleanup
		defer close(ended)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() { srv.Close(); <-ended })
	if err := c.Post(context.Background(), PathStop, Targets{}, &Outcome{}); err != nil || len(*told) != 0 {
		t.Errorf("%v, told: %q", err, *told)
	}
}
