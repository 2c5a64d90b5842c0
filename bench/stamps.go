package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// stamp is what a child said: what happened, in which app and process, and when.
type stamp struct {
	what, tag string
	pid       int
	at        int64 // CLOCK_MONOTONIC in nanoseconds
}

// stamps reads the file that children append to.
type stamps struct {
	path string
	read int64
	rest []byte // of a line that isn't complete yet
	all  []stamp
}

// poll reads what is new and returns everything so far.
func (s *stamps) poll() []stamp {
	if info, err := os.Stat(s.path); err != nil || info.Size() == s.read {
		return s.all
	}
	f, err := os.Open(s.path)
	if err != nil {
		return s.all
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, s.read, 1<<30))
	if err != nil {
		return s.all
	}
	s.read += int64(len(data))
	s.take(data)
	return s.all
}

// take adds the complete lines of data.
func (s *stamps) take(data []byte) {
	data = append(s.rest, data...)
	for {
		line, rest, found := bytes.Cut(data, []byte("\n"))
		if !found {
			s.rest = data
			return
		}
		data = rest
		var one stamp
		if n, _ := fmt.Sscan(string(line), &one.what, &one.tag, &one.pid, &one.at); n == 4 {
			s.all = append(s.all, one)
		}
	}
}

// latest is the newest stamp of a kind for each app.
func (s *stamps) latest(what string) map[string]stamp {
	out := map[string]stamp{}
	for _, one := range s.poll() {
		if one.what == what {
			out[one.tag] = one
		}
	}
	return out
}

// first is the time of the earliest stamp of a kind; 0 without any.
func (s *stamps) first(what string) int64 {
	var at int64
	for _, one := range s.poll() {
		if one.what == what && (at == 0 || one.at < at) {
			at = one.at
		}
	}
	return at
}

// count is how many stamps of a kind there are.
func (s *stamps) count(what string) int {
	n := 0
	for _, one := range s.poll() {
		if one.what == what {
			n++
		}
	}
	return n
}

// wrong compares the starts with what should be there: each of n apps alive exactly once, after
// exactly so many starts in all. Empty = right.
func (s *stamps) wrong(n, starts int, alive func(int) bool) string {
	live := map[string]int{}
	for _, one := range s.poll() {
		if one.what == "start" && alive(one.pid) {
			live[one.tag]++
		}
	}
	for tag, k := range live {
		if k > 1 {
			return fmt.Sprintf("%s runs %d times", tag, k)
		}
	}
	if len(live) != n {
		return fmt.Sprintf("%d of %d apps run", len(live), n)
	}
	if k := s.count("start"); k != starts {
		return fmt.Sprintf("%d starts, expected %d", k, starts)
	}
	return ""
}
