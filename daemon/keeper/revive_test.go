package keeper

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	type step struct {
		e    ending
		want verdict
		wait time.Duration
	}
	const ms = time.Millisecond
	short, long := ending{ready: true, estate: true, lived: ms}, ending{ready: true, estate: true, lived: time.Second}
	tests := map[string][]step{
		"on purpose":                       {{ending{leaving: true, ready: true, estate: true}, follow, 0}},
		"never served, nothing to keep":    {{ending{lived: time.Hour}, follow, 0}},
		"never served, something to keep":  {{ending{estate: true, lived: time.Hour}, again, 0}, {ending{estate: true, lived: time.Hour}, again, 100 * ms}},
		"served, nothing to keep":          {{ending{ready: true, lived: time.Hour}, again, 0}},
		"five in a row":                    {{short, again, 0}, {short, again, 100 * ms}, {short, again, 200 * ms}, {short, again, 400 * ms}, {short, giveUp, time.Minute}},
		"a long life begins the row anew":  {{short, again, 0}, {short, again, 100 * ms}, {long, again, 0}, {short, again, 0}, {short, again, 100 * ms}},
		"after it has given up, once more": {{short, again, 0}, {short, again, 100 * ms}, {short, again, 200 * ms}, {short, again, 400 * ms}, {short, giveUp, time.Minute}, {short, giveUp, 2 * time.Minute}},
	}
	for name, steps := range tests {
		var r reviver
		for i, s := range steps {
			if v, wait := r.judge(s.e); v != s.want || wait != s.wait {
				t.Errorf("%s, step %d: %v after %s, want %v after %s", name, i, v, wait, s.want, s.wait)
			}
		}
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	exited := func(code int) unix.WaitStatus { return unix.WaitStatus(code << 8) }
	killed := unix.WaitStatus(unix.SIGKILL)
	tests := []struct {
		status  unix.WaitStatus
		leaving bool
		how     string
		code    int
	}{
		{exited(0), true, "exited with code 0", 0},
		{exited(0), false, "exited with code 0", 1},
		{exited(7), true, "exited with code 7", 7},
		{exited(7), false, "exited with code 7", 7},
		{killed, true, "was killed by SIGKILL", 137},
		{unix.WaitStatus(40), false, "was killed by signal 40", 168},
	}
	for _, test := range tests {
		if how, code := describe(test.status), exitCode(test.status, test.leaving); how != test.how || code != test.code {
			t.Errorf("%#x: %q, %d; want %q, %d", test.status, how, code, test.how, test.code)
		}
	}
}

func TestTableRoom(t *testing.T) {
	t.Parallel()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 9000 {
		t.Skip("too few descriptors are allowed here")
	}
	for files, want := range map[int]int{0: 1023, 200: 1023, 600: 2047, 2000: 8191} {
		if got := tableRoom(files); got != want {
			t.Errorf("%d files: %d, want %d", files, got, want)
		}
	}
}
