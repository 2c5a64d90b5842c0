package daemon

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// journal writes the daemon's log from a goroutine of its own: a disk that hangs
// must not hold up those who keep programs alive. What does not fit into its
// queue meanwhile is dropped and counted.
type journal struct {
	lines   chan string
	dropped atomic.Int64  // since the log said so last
	lost    atomic.Int64  // ever
	done    chan struct{} // closed when the goroutine has ended
	file    io.WriteCloser
	form    func(time.Time, string) string
}

const (
	journalQueue = 1024 // lines that wait
	journalBatch = 64   // lines that are written with one call

	maxJournalText = 8 << 10 // of one line
)

// newJournal writes lines that form makes of what is said, and when.
func newJournal(file io.WriteCloser, form func(time.Time, string) string) *journal {
	j := &journal{lines: make(chan string, journalQueue), done: make(chan struct{}), file: file, form: form}
	go j.run() // ended by close, which waits for it
	return j
}

// stamped is a line of a log file.
func stamped(now time.Time, text string) string {
	return now.Format("2006-01-02T15:04:05.000Z07:00") + " " + text + "\n"
}

// print adds a line; it never blocks.
func (j *journal) print(format string, args ...any) {
	line := j.form(time.Now(), plainText(cutText(fmt.Sprintf(format, args...), maxJournalText)))
	select {
	case j.lines <- line:
	default:
		j.dropped.Add(1)
		j.lost.Add(1)
	}
}

// run writes what has come together with one call.
func (j *journal) run() {
	defer close(j.done)
	var text []byte
	for line := range j.lines {
		text = append(text[:0], line...)
		for range min(len(j.lines), journalBatch-1) { // nobody else takes them
			text = append(text, <-j.lines...)
		}
		if n := j.dropped.Swap(0); n > 0 {
			text = append(text, j.form(time.Now(), fmt.Sprintf("(%d lines of this log were dropped: its disk was too slow)", n))...)
		}
		_, _ = j.file.Write(text) // a full disk: nobody is left to be told
	}
}

// close writes what is queued. Nothing may be printed any more.
func (j *journal) close() {
	close(j.lines)
	<-j.done
	j.file.Close()
}
