package daemon

import (
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

func texts(all []api.Event) string {
	var s []string
	for _, e := range all {
		s = append(s, e.Text)
	}
	return strings.Join(s, " ")
}

func told(text string) api.Event { return api.Event{Kind: api.EventDaemon, Text: text} }

// A reader that asks in time misses nothing, in the order of what has happened.
func TestChronicle(t *testing.T) {
	t.Parallel()
	c := newChronicle(time.Unix(1000, 0))
	_, _, next, more := c.since(0)
	c.add(told("a"))
	select {
	case <-more:
	default:
		t.Error("who waits was not told of a")
	}
	c.add(told("b"))
	all, missed, next, more := c.since(next)
	if texts(all) != "a b" || missed != 0 || all[1].Seq != all[0].Seq+1 || next != all[1].Seq+1 {
		t.Errorf("got %q, missed %d, next %d", texts(all), missed, next)
	}
	if all, missed, again, _ := c.since(next); len(all)+missed != 0 || again != next {
		t.Errorf("with nothing new: %q, missed %d, next %d", texts(all), missed, again)
	}
	select {
	case <-more:
		t.Error("there is no more, and yet who waits was told")
	default:
	}
}

// The oldest go when there are too many, or when they are too big; a reader hears how
// many it has missed.
func TestChronicleIsBounded(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"many": "x", "big": strings.Repeat("x", 3*maxEventText)} {
		c := newChronicle(time.Now())
		_, _, next, _ := c.since(0)
		const n = 3 * maxEvents
		for range n {
			c.add(told(text))
		}
		all, missed, _, _ := c.since(next)
		size := 0
		for _, e := range all {
			size += eventBytes(e)
		}
		if len(all) > maxEvents || size > maxEventBytes || size != c.size || len(all)+missed != n || len(all) < 100 {
			t.Errorf("%s: %d events of %d bytes are kept (counted as %d), %d were missed", name, len(all), size, c.size, missed)
		}
		if longest := len(all[0].Text); longest > maxEventText+len("…") {
			t.Errorf("%s: a text of %d bytes is kept", name, longest)
		}
	}
}

// Who followed the daemon before gets all of this one, and has missed nothing of it; also
// if the clock was set back in between.
func TestChronicleOfTheNextDaemon(t *testing.T) {
	t.Parallel()
	for _, before := range []time.Time{time.Unix(1000, 0), time.Unix(9000, 0)} {
		old := newChronicle(before)
		old.add(told("old"))
		_, _, next, _ := old.since(0)
		c := newChronicle(time.Unix(5000, 0))
		c.add(told("a"))
		c.add(told("b"))
		if all, missed, _, _ := c.since(next); texts(all) != "a b" || missed != 0 {
			t.Errorf("after a daemon that began at %v: %q, missed %d", before, texts(all), missed)
		}
	}
}

func TestChronicleKnows(t *testing.T) {
	t.Parallel()
	c := newChronicle(time.Now())
	c.add(api.Event{App: "web", Text: "gone"})
	if !c.knows("web") || c.knows("we") {
		t.Error("it does not know whose events it has")
	}
}
