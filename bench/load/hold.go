package load

import (
	"context"
	"fmt"
	"time"
)

// Holding is a number of connections that are to be opened and kept.
type Holding struct {
	Target      string
	Connections int
	Over        time.Duration // spread evenly over so long; 0: a burst, all are there before any of them asks anything
	From        []string      // client addresses, used in turn
	Timeout     time.Duration // of each request; 10 s if 0
}

// Held are open connections, and whose they are. It belongs to one goroutine.
type Held struct {
	d    *Driver
	next int // number of a request
}

// Hold opens connections, with one request on each to learn which server has it. It fails when one of them does.
func Hold(ctx context.Context, h Holding) (*Held, error) {
	p := Plan{Target: h.Target, Path: "/", KeepAlive: true, From: h.From, Timeout: orElse(h.Timeout, defaultTimeout)}
	held := &Held{d: &Driver{plan: p, run: newRun(), begun: time.Now()}}
	if err := held.open(ctx, h); err != nil {
		held.Close()
		return nil, err
	}
	return held, nil
}

func (held *Held) open(ctx context.Context, h Holding) error {
	for n := range h.Connections {
		due := held.d.begun.Add(h.Over * time.Duration(n) / time.Duration(max(h.Connections-1, 1)))
		if !pause(ctx, time.Until(due)) {
			return fmt.Errorf("ended after %d of %d connections: %w", n, h.Connections, ctx.Err())
		}
		c := held.d.client()
		if err := c.connect(time.Now().Add(held.d.plan.Timeout)); err != nil {
			return fmt.Errorf("connection %d of %d: %w", n+1, h.Connections, err)
		}
		if h.Over == 0 {
			continue
		}
		if err := held.ask(c); err != nil {
			return err
		}
	}
	if h.Over > 0 {
		return nil
	}
	for _, c := range held.d.clients {
		if err := held.ask(c); err != nil {
			return err
		}
	}
	return nil
}

// ask sends one request on one connection.
func (held *Held) ask(c *client) error {
	n := held.next
	held.next++
	c.request(n, time.Now())
	if f, bad := c.failed[n]; bad {
		return fmt.Errorf("connection with the request %s", f)
	}
	return nil
}

// Ask sends a request on each connection again, one after the other, and says how these ended. A connection that the
// server has closed is opened anew, and counted in IdleClosed.
func (held *Held) Ask() Result {
	held.d.begun = time.Now()
	for _, c := range held.d.clients {
		c.tally = tally{}
		_ = held.ask(c) // the result has it
	}
	return held.d.sum()
}

// Servers is how many of the connections each server has, by the newest answer on each.
func (held *Held) Servers() map[string]int {
	of := map[string]int{}
	for _, c := range held.d.clients {
		of[c.last]++
	}
	return of
}

// Spread is the largest of n servers' numbers of connections less the smallest; one without any counts, too.
func (held *Held) Spread(n int) int {
	of := held.Servers()
	least, most := len(held.d.clients), 0
	for _, k := range of {
		least, most = min(least, k), max(most, k)
	}
	if len(of) < n {
		least = 0
	}
	return most - least
}

// Text names the servers and how many connections each has.
func (held *Held) Text() string {
	return fmt.Sprintf("%d connections:%s", len(held.d.clients), shares(held.Servers()))
}

// Close hangs up.
func (held *Held) Close() {
	for _, c := range held.d.clients {
		c.hangUp()
	}
}
