package keeper

import (
	"testing"
	"time"
)

func TestCalm(t *testing.T) {
	t.Parallel()
	at := func(s int64) time.Time { return time.Unix(1000+s, 0) }
	var c calm
	c.rest(at(0))
	if !c.due.IsZero() || !c.last.IsZero() {
		t.Errorf("it rests unasked: %+v", c)
	}
	c.disturb(at(0))
	c.disturb(at(1)) // it is not put off
	if c.due != at(2) {
		t.Errorf("due at %v", c.due)
	}
	c.rest(at(1))
	if c.due.IsZero() {
		t.Error("it rests too early")
	}
	c.rest(at(2)) // the program goes on without its pages
	if !c.due.IsZero() || c.last != at(2) {
		t.Errorf("%+v", c)
	}
	c.disturb(at(3))
	if c.due != at(12) {
		t.Errorf("due at %v", c.due)
	}
}

func TestReadOnlyFile(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		low, high uintptr
		ok        bool
	}{
		"00400000-008ad000 r-xp 00000000 fe:00 123                  /usr/bin/gopm": {0x400000, 0x8ad000, true},
		"008ad000-00d63000 r--p 004ad000 fe:00 123                  /usr/bin/gopm": {0x8ad000, 0xd63000, true},
		"00d63000-00dd5000 rw-p 00963000 fe:00 123                  /usr/bin/gopm": {0, 0, true},
		"7f6d13d22000-7f6d13d24000 r-xp 00000000 00:00 0            [vdso]":        {0, 0, true},
		"00dd5000-02e17000 r--p 00000000 00:00 0":                                  {0, 0, true},
		"Anonymous:             0 kB":                                              {0, 0, false},
		"VmFlags: rd ex mr mw me":                                                  {0, 0, false},
		"a-b":                                                                      {0, 0, true},
	}
	for line, want := range tests {
		if low, high, ok := readOnlyFile(line); low != want.low || high != want.high || ok != want.ok {
			t.Errorf("%q: %x %x %v", line, low, high, ok)
		}
	}
}
