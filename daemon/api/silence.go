package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A daemon that hangs says nothing, and the kernel takes connections for it: who asks
// would wait for ever without a word. That an answer takes long means little, for an app
// may have minutes to stop; so it is the daemon that is asked whether it is there.

// silence is how long a daemon may say nothing at all.
type silence struct {
	look time.Duration // an answer that takes longer has the daemon asked
	ping time.Duration // that it has for this
	end  time.Duration // when it is given up
}

var usualSilence = silence{look: 3 * time.Second, ping: 2 * time.Second, end: 30 * time.Second}

// HungError says that the daemon takes connections and doesn't answer.
type HungError struct {
	For time.Duration
	Why string
}

func (e *HungError) Error() string {
	return fmt.Sprintf("no answer for %s: %s", e.For.Round(time.Second), e.Why)
}

// mind has the daemon asked while an answer on conn takes long. The returned function
// ends that; its error is why conn was closed.
func (c *Client) mind(ctx context.Context, conn io.Closer) (end func() error) {
	if c.silence.look == 0 {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	timer := time.AfterFunc(c.silence.look, func() { // ended by cancel; end waits for it
		err := c.listenFor(ctx)
		if err != nil {
			conn.Close()
		}
		result <- err
	})
	return func() error {
		defer cancel()
		if timer.Stop() {
			return nil
		}
		cancel()
		return <-result
	}
}

// listenFor returns when ctx ends, or with a HungError.
func (c *Client) listenFor(ctx context.Context) error {
	last := time.Now().Add(-c.silence.look)
	told := false
	for ctx.Err() == nil {
		answered := c.answers(ctx)
		silent := time.Since(last)
		switch {
		case ctx.Err() != nil:
			return nil
		case answered:
			last = time.Now()
		case silent >= c.silence.end:
			return &HungError{silent, c.home.hang()}
		case !told && c.trouble != nil:
			told = true
			c.trouble(fmt.Sprintf("no answer for %s, still waiting: %s", silent.Round(time.Second), c.home.hang()))
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.silence.look):
		}
	}
	return nil
}

// answers says whether the daemon answers anything now.
func (c *Client) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.silence.ping)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return true // it is not silent but gone, as who waits will see
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gopm"+PathPing, nil)
	if err != nil {
		return true
	}
	req.Close = true
	if req.Write(conn) != nil {
		return ctx.Err() == nil
	}
	_, err = bufio.NewReader(conn).ReadByte()
	return err == nil || ctx.Err() == nil // cut off: the next one is asked
}

// hang says who it is that doesn't answer, and what helps.
func (h Home) hang() string {
	daemon, keeper := int(h.Holder()), int(h.Keeper())
	switch {
	case daemon > 0 && isStopped(daemon):
		return fmt.Sprintf("the daemon (pid %d) was stopped by a signal; kill -CONT %d lets it go on", daemon, daemon)
	case daemon > 0 && keeper > 0:
		return fmt.Sprintf("the daemon (pid %d) does not answer; if it hangs, kill -9 %d has its keeper start another, and the apps run on", daemon, daemon)
	case daemon > 0:
		return fmt.Sprintf("the daemon (pid %d) does not answer; if it hangs: kill -9 %d; gopm resurrect (the apps run on)", daemon, daemon)
	case keeper > 0 && isStopped(keeper):
		return fmt.Sprintf("no daemon runs, and the keeper (pid %d), which would start one, was stopped by a signal; kill -CONT %d lets it go on", keeper, keeper)
	case keeper > 0:
		return fmt.Sprintf("no daemon runs, and the keeper (pid %d) starts none; if it hangs: kill -9 %d; gopm resurrect (the apps run on)", keeper, keeper)
	}
	return fmt.Sprintf("whoever listens at %s is no gopm that is known", h.Socket())
}
