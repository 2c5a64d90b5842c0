package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Audit compares what the servers say that they did with what the client saw.
type Audit struct {
	Executed   int      // requests of the run that were begun by a server
	Twice      []string // ids that were begun more than once
	Half       []string // begun, and never ended
	Unanswered []string // executed to the end, but the client saw a failure
	Missing    []string // answered well, but no server says that it did
}

// Clean is true where nothing was executed twice or half, and every answer has its execution.
func (a Audit) Clean() bool { return len(a.Twice) == 0 && len(a.Half) == 0 && len(a.Missing) == 0 }

// Text says it in one line.
func (a Audit) Text() string {
	text := fmt.Sprintf("%d executed, %d twice, %d half, %d executed but not answered, %d answered but not in the log",
		a.Executed, len(a.Twice), len(a.Half), len(a.Unanswered), len(a.Missing))
	for _, ids := range [][]string{a.Twice, a.Half, a.Unanswered, a.Missing} {
		if len(ids) > 0 {
			return text + " (" + ids[0] + ")"
		}
	}
	return text
}

// Audit reads the servers' output, in which "ID begin" and "ID end" are lines' last two words. Lines of other runs, and
// all others, are passed over. The logs of several servers may be read one after the other (io.MultiReader).
func (r Result) Audit(logs io.Reader) (Audit, error) {
	type execution struct{ begins, ends int }
	done := map[int]execution{}
	lines := bufio.NewReader(logs)
	for {
		line, err := lines.ReadString('\n')
		if n, what, ours := r.parse(line); ours {
			e := done[n]
			if what == "begin" {
				e.begins++
			} else {
				e.ends++
			}
			done[n] = e
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Audit{}, fmt.Errorf("cannot read the servers' log: %w", err)
		}
	}
	var a Audit
	for n := range r.Requests {
		id, e := r.run+"-"+strconv.Itoa(n), done[n]
		if e.begins > 0 {
			a.Executed++
		}
		if e.begins > 1 {
			a.Twice = append(a.Twice, id)
		}
		if e.begins > e.ends {
			a.Half = append(a.Half, id)
		}
		if e.ends > 0 && r.failed[n] {
			a.Unanswered = append(a.Unanswered, id)
		}
		if e.begins == 0 && !r.failed[n] {
			a.Missing = append(a.Missing, id)
		}
	}
	return a, nil
}

// parse takes the number and the word from a line of ours.
func (r Result) parse(line string) (n int, what string, ours bool) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return 0, "", false
	}
	what = words[len(words)-1]
	number, found := strings.CutPrefix(words[len(words)-2], r.run+"-")
	if !found || what != "begin" && what != "end" {
		return 0, "", false
	}
	n, err := strconv.Atoi(number)
	return n, what, err == nil
}
