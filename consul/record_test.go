package consul

import (
	"testing"
	"time"
)

// TestRecords: a record is only written over what was read, and a mark goes with its
// session, which who watches sees.
func TestRecords(t *testing.T) {
	ag := startAgent(t)
	c, ctx := openClient(t, ag.Address()), t.Context()
	replace := func(r Record, value string, want bool) {
		t.Helper()
		if done, err := c.Replace(ctx, r, []byte(value)); err != nil || done != want {
			t.Fatalf("%s over index %d: %v, %v, want %v", value, r.Index, done, err, want)
		}
	}
	none, err := c.Record(ctx, "x/a b?")
	if err != nil || none.Index != 0 {
		t.Fatalf("%+v, %v", none, err)
	}
	replace(none, "one", true)
	replace(none, "other", false)
	one, err := c.Record(ctx, "x/a b?")
	if err != nil || string(one.Value) != "one" {
		t.Fatalf("%+v, %v", one, err)
	}
	replace(one, "two", true)
	replace(one, "three", false)

	mark, ok, err := c.TakeMark(ctx, "x/mark", "me", 10*time.Second)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := c.TakeMark(ctx, "x/mark", "you", 10*time.Second); err != nil || ok {
		t.Fatalf("two have the mark: %v", err)
	}
	all, index, err := c.Records(ctx, "x/", 0, 0)
	if err != nil || len(all) != 2 || string(all[0].Value) != "two" || all[1].Session != mark.Session || index == 0 {
		t.Fatalf("%+v, %d, %v", all, index, err)
	}
	if alive, err := c.KeepMark(ctx, mark); err != nil || !alive {
		t.Fatal(alive, err)
	}
	seen := make(chan []Record, 1)
	go func() {
		all, _, _ := c.Records(ctx, "x/", index, time.Minute) // an error: there are none
		seen <- all
	}()
	if err := c.DropMark(ctx, mark); err != nil {
		t.Fatal(err)
	}
	select {
	case all := <-seen:
		if len(all) != 1 {
			t.Errorf("without the mark there are %+v", all)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("who watches has not seen that the mark is gone")
	}
	if alive, err := c.KeepMark(ctx, mark); err != nil || alive {
		t.Errorf("a session that has ended is renewed: %v, %v", alive, err)
	}
	again, ok, err := c.TakeMark(ctx, "x/mark", "you", 10*time.Second)
	if err != nil || !ok {
		t.Fatalf("the mark can't be taken again: %v", err)
	}
	if err := c.DropMark(ctx, again); err != nil {
		t.Error(err)
	}
}
