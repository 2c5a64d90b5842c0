package load

import (
	"context"
	"fmt"
	"time"
)

// between is the pause after a try that failed: short against anything that is waited for, long against a busy loop.
const between = 500 * time.Microsecond

// Get makes one request, on a connection of its own.
func Get(target, path string, timeout time.Duration) (Answer, error) {
	d := &Driver{plan: Plan{Target: target, Timeout: timeout}, run: newRun()}
	c := &client{d: d}
	defer c.hangUp()
	a, _, err := c.exchange(path, d.run+"-0", time.Now().Add(timeout))
	return a, err
}

// First asks, on a new connection each time, until an answer is good, and says how many tries failed before it. One try
// may take up to timeout: a connection that waits for a server that is being started isn't given up before.
func First(ctx context.Context, target, path string, timeout time.Duration) (a Answer, failed int, err error) {
	for ; ; failed++ {
		if a, err = Get(target, path, timeout); err == nil {
			return a, failed, nil
		}
		if !pause(ctx, between) {
			return a, failed, fmt.Errorf("no answer from %s after %d tries: %w", target, failed+1, err)
		}
	}
}
