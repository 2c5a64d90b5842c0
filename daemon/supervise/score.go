package supervise

import (
	"os"
	"sync"
)

// Score is what the kernel weighs when memory runs out (oom_score_adj, as text): ours
// is lower than that of who started us, so that it takes an app first. The apps get
// the original. Both are "" where ours could not be lowered.
type Score struct{ Original, Own string }

// scoreLender gives us the original for as long as something is being forked: a child
// begins with its parent's, and writing the child's afterwards would come too late for
// what it forks itself. It costs a fork 2 µs.
type scoreLender struct {
	score Score
	file  *os.File // nil: there is nothing to give back

	mu    sync.Mutex // guards forks and the order of writes, which don't wait
	forks int        // going on
}

func newScoreLender(s Score) *scoreLender {
	l := &scoreLender{score: s}
	if s.Original == s.Own {
		return l
	}
	l.file, _ = os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0) // nil: apps get ours
	return l
}

func (l *scoreLender) close() {
	if l.file != nil {
		l.file.Close()
	}
}

// lend goes before a fork, back after it.
func (l *scoreLender) lend() { l.change(1, 1, l.score.Original) }

func (l *scoreLender) back() { l.change(-1, 0, l.score.Own) }

// change writes a score when the forks going on have become a number.
func (l *scoreLender) change(by, when int, score string) {
	if l.file == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forks += by; l.forks == when {
		_, _ = l.file.WriteAt([]byte(score), 0) // it could be written before
	}
}
