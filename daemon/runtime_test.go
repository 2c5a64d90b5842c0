package daemon

import (
	"syscall"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

func TestJudgeRun(t *testing.T) {
	t.Parallel()
	at := func(second int64, e supervise.Exit) *supervise.Exit {
		e.At = time.Unix(second, 0)
		return &e
	}
	up := fate{}
	well := fate{over: true, exit: at(1, supervise.Exit{})}
	three := fate{over: true, exit: at(3, supervise.Exit{Code: 3})}
	killed := fate{over: true, exit: at(2, supervise.Exit{Signal: syscall.SIGKILL})}
	looped := fate{over: true, errored: true, exit: at(4, supervise.Exit{})}
	failedBefore := fate{exit: at(1, supervise.Exit{Code: 9})} // and was restarted
	for _, tt := range []struct {
		name   string
		exitOn string
		all    []fate
		want   foregone
		code   int
	}{
		{"one still runs", api.ExitOnLast, []fate{well, up}, runs, 0},
		{"all are well", api.ExitOnLast, []fate{well, well}, over, 0},
		{"the first failure counts", api.ExitOnLast, []fate{three, well, killed}, over, 137},
		{"what is restarted has not ended", api.ExitOnFirst, []fate{failedBefore, up}, runs, 0},
		{"the first", api.ExitOnFirst, []fate{up, three, well}, over, 0},
		{"the first one failed", api.ExitOnFirst, []fate{up, killed, three}, over, 137},
		{"a failure", api.ExitOnFailure, []fate{up, well, three}, over, 3},
		{"no failure", api.ExitOnFailure, []fate{up, well}, runs, 0},
		{"no failure at all", api.ExitOnFailure, []fate{well}, over, 0},
		{"a loop of zeros", api.ExitOnLast, []fate{looped}, over, 1},
		{"not seen", api.ExitOnLast, []fate{{over: true, exit: at(1, supervise.Exit{Code: supervise.Unknown})}}, over, 1},
		{"not run", api.ExitOnLast, []fate{{over: true, errored: true, exit: at(1, supervise.Exit{Err: "permission denied"})}}, over, 127},
		{"never started", api.ExitOnLast, []fate{{over: true}}, over, 0},
		{"the first, of those that were started", api.ExitOnFirst, []fate{{over: true}, up}, runs, 0},
		{"what has failed is waited for", api.ExitOnLast, []fate{three, {waits: true}}, stuck, 3},
		{"what is well is waited for", api.ExitOnLast, []fate{well, {waits: true}}, runs, 0},
		{"one runs, one waits", api.ExitOnLast, []fate{three, {waits: true}, up}, runs, 0},
		{"never", api.ExitOnNever, []fate{three}, runs, 0},
	} {
		if v, code := judgeRun(tt.exitOn, tt.all); v != tt.want || v != runs && code != tt.code {
			t.Errorf("%s: %v, %d; want %v, %d", tt.name, v, code, tt.want, tt.code)
		}
	}
}
