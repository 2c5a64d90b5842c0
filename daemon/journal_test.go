package daemon

import (
	"strings"
	"sync"
	"testing"
)

// slowFile holds its writer until it is released.
type slowFile struct {
	held chan struct{}
	mu   sync.Mutex
	text strings.Builder
}

func (f *slowFile) Write(b []byte) (int, error) {
	<-f.held
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(b)
}

func (f *slowFile) Close() error { return nil }

func TestJournalNeverBlocksAndCountsWhatItDrops(t *testing.T) {
	t.Parallel()
	f := &slowFile{held: make(chan struct{})}
	j := newJournal(f, stamped)
	const lines = 2 * journalQueue
	for i := range lines { // it would hang here
		j.print("line %d", i)
	}
	close(f.held)
	j.print("the disk is back")
	j.close()
	text := f.text.String()
	written := strings.Count(text, " line ")
	if written < journalQueue || written >= lines || !strings.Contains(text, " line 0\n") {
		t.Errorf("%d of %d lines written", written, lines)
	}
	if !strings.Contains(text, "lines of this log were dropped") {
		t.Error("nothing says that lines are missing")
	}
}
