package consul

import (
	"context"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"
)

// The pauses between two tries to have an agent answer.
const (
	firstPause = time.Second
	mostPause  = 30 * time.Second
	knockEvery = time.Second
)

// Pause is the time until the next try after some failures in a row: 1 to 30 s, and never
// that of another machine's gopm.
func Pause(failures int) time.Duration {
	d := min(mostPause, firstPause<<min(max(failures-1, 0), 5))
	return d*3/4 + rand.N(d/4+1)
}

// Rest waits until another try makes sense after failures in a row: when due is over, when
// wake has something, or when an agent of this machine that has refused connections takes
// them again. Its error is that of ctx.
func (c *Client) Rest(ctx context.Context, due time.Time, wake <-chan struct{}) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	knocks := time.NewTicker(knockEvery)
	defer knocks.Stop()
	network, address := c.local()
	if address == "" {
		knocks.Stop()
	}
	refused := address != "" && !knock(ctx, network, address)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-wake:
			return nil
		case <-knocks.C:
			answers := knock(ctx, network, address)
			if refused && answers {
				return nil
			}
			refused = !answers
		}
	}
}

// isKnockedAt says that the agent is looked for each second: it is on this machine, and
// nobody listened there when it was asked last.
func (c *Client) isKnockedAt() bool {
	_, address := c.local()
	s := c.Status()
	return address != "" && s.Down && s.refused
}

// local is where the agent listens if that is on this machine.
func (c *Client) local() (network, address string) {
	if path, is := strings.CutPrefix(c.where, "unix://"); is {
		return "unix", path
	}
	host := c.where
	if u, err := url.Parse(c.where); err == nil && u.Host != "" {
		host = u.Host
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return "", ""
	}
	if ip := net.ParseIP(name); name == "localhost" || ip != nil && ip.IsLoopback() {
		return "tcp", host
	}
	return "", ""
}

func knock(ctx context.Context, network, address string) bool {
	bounded, cancel := context.WithTimeout(ctx, knockEvery/2)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(bounded, network, address)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was said on it
	return true
}
