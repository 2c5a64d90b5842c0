package cluster

import (
	"testing"
	"time"
)

// TestPace: a start's calls don't wait, and a storm gets its share.
func TestPace(t *testing.T) {
	now := time.Unix(1000, 0)
	p := Pace{Burst: paceBurst, at: now}
	for range 50 {
		now = now.Add(time.Millisecond)
		if wait := p.Pay(now, time.Millisecond); wait != 0 {
			t.Fatalf("the first 50 ms of calls wait for %v", wait)
		}
	}
	var worked time.Duration
	for began := now; now.Sub(began) < time.Minute; {
		const took = 300 * time.Microsecond
		worked += took
		now = now.Add(took)
		now = now.Add(p.Pay(now, took))
	}
	if worked < 2500*time.Millisecond || worked > 3500*time.Millisecond {
		t.Errorf("a storm of a minute got %v, want about 3 s", worked)
	}
	now = now.Add(time.Minute)
	if wait := p.Pay(now, paceBurst); wait != 0 {
		t.Errorf("after a quiet minute a call waits for %v", wait)
	}
	if wait := p.Pay(now.Add(time.Hour), time.Hour); wait != paceMost {
		t.Errorf("after a call of an hour the next waits for %v", wait)
	}
}
