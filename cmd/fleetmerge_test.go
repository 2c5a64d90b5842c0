package cmd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A word of a tape is what happens: "a5" a line of lane a with the time 5, "a!" its
// answer, "a." its end, "+300ms" time passes. What is shown is the lines, in order, with
// "?a" where it is said that a is silent.
func playMerge(follow bool, lanes, tape string) string {
	start := time.Unix(1000, 0)
	now := start
	m := &merge{mergePatience: usualPatience(), follow: follow}
	for _, name := range lanes {
		m.lanes = append(m.lanes, lane{host: string(name), heard: now})
	}
	var shown []string
	step := func() {
		for _, host := range m.silent(now) {
			shown = append(shown, "?"+host)
		}
		for {
			at, _ := m.next(now)
			if at < 0 {
				return
			}
			line := m.pop(at, now)
			shown = append(shown, fmt.Sprintf("%s%d", m.lanes[at].host, int(line.time.Sub(start)/time.Second)))
		}
	}
	for word := range strings.FieldsSeq(tape) {
		at := strings.Index(lanes, word[:1])
		switch d, err := time.ParseDuration(strings.TrimPrefix(word, "+")); {
		case word[0] == '+' && err == nil:
			now = now.Add(d)
		case word[1:] == "!":
			m.hear(at, now)
		case word[1:] == ".":
			m.lanes[at].ended = true
		default:
			var n int
			fmt.Sscan(word[1:], &n)
			m.take(at, mergeLine{time: start.Add(time.Duration(n) * time.Second), came: now})
		}
		step()
	}
	if m.over() {
		shown = append(shown, "end")
	}
	return strings.Join(shown, " ")
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what   string
		follow bool
		tape   string
		want   string
	}{
		{"by time", false, "a1 a4 b2 b3 a. b.", "a1 b2 b3 a4 end"},
		{"one ends first", false, "a1 a4 a. b2 b.", "a1 b2 a4 end"},
		{"nothing is shown before the other has said something", false, "a1 a2 +9s", ""},
		{"one is dead", false, "a1 a2 +10s a3 a.", "?b a1 a2 a3"},
		{"and answers late", false, "a1 +10s b0 b2 a3 a. b.", "?b a1 b0 b2 a3 end"},
		{"one is silent in the middle", false, "a1 b2 a3 a5 +9s +1s b4 b. a.", "a1 b2 ?b a3 a5 b4 end"},
		{"one could not be reached", false, "b. a1 a.", "a1 end"},
		{"nobody has anything", false, "a! b! a. b.", "end"},
		{"both are silent", false, "+10s +10s", "?a ?b"},
		{"the same time: as they are given", false, "b1 a1 b1 a. b.", "a1 b1 b1 end"},

		{"followed: the beginning by time", true, "a! a1 a4 b! b2 b3 +300ms", "a1 b2 b3 a4"},
		{"followed: one has nothing", true, "a! a1 b! +999ms +1ms", "a1"},
		{"followed: a line waits for the others", true, "a! b! a1 b2 +300ms a3 +299ms +1ms", "a1 b2 a3"},
		{"followed: what is earlier comes first, if it comes soon", true, "a! b! a1 b2 +300ms a5 +200ms b4 +300ms", "a1 b2 b4 a5"},
		{"followed: what comes later is shown, too", true, "a! b! a1 b2 +300ms a5 +300ms b4 +300ms", "a1 b2 a5 b4"},
		{"followed: one is dead", true, "a! a1 +10s a2 a3", "?b a1 a2 a3"},
		{"followed: one is quiet, nobody says so", true, "a! b! a1 b2 +60s a3 +300ms", "a1 b2 a3"},
		{"followed: one ends", true, "a! b! a1 b2 b. a3 a4", "a1 b2 a3 a4"},
	} {
		if got := playMerge(tt.follow, "ab", tt.tape); got != tt.want {
			t.Errorf("%s: %s\n got %s\nwant %s", tt.what, tt.tape, got, tt.want)
		}
	}
}

// next says when something is to be done at the latest; otherwise lines would lie there.
func TestMergeAlarm(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for _, follow := range []bool{false, true} {
		m := &merge{mergePatience: usualPatience(), follow: follow, lanes: []lane{{host: "a", heard: now}, {host: "b", heard: now}}}
		if at, until := m.next(now); at >= 0 || !until.Equal(now.Add(m.answer)) {
			t.Errorf("nobody has answered: %d, %v", at, until)
		}
		m.take(0, mergeLine{time: now, came: now})
		if at, until := m.next(now); at >= 0 || !until.Equal(now.Add(m.answer)) {
			t.Errorf("one waits for the other: %d, %v", at, until)
		}
		m.hear(1, now)
		want := m.answer
		if follow {
			want = m.begin
		}
		if at, until := m.next(now); at >= 0 || !until.Equal(now.Add(want)) {
			t.Errorf("it has answered (followed: %v): %d, %v", follow, at, until)
		}
		m.lanes[1].ended = true
		if at, _ := m.next(now); at != 0 {
			t.Errorf("nobody is waited for: %d", at)
		}
	}
}

// Whatever comes in whatever order: each line is shown once, a machine's in its order,
// and all of them when all have ended; without silence, sorted.
func TestMergeAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var tape []string
		clock := map[string]int{}
		alive := []string{"a", "b", "c"}
		given := 0
		calm := seed%2 == 0
		for len(alive) > 0 {
			name := alive[r.IntN(len(alive))]
			switch n := r.IntN(10); {
			case n == 0:
				tape = append(tape, name+".")
				alive = slices.DeleteFunc(alive, func(s string) bool { return s == name })
			case n == 1 && !calm:
				tape = append(tape, fmt.Sprintf("+%dms", r.IntN(12000)))
			default:
				clock[name] += r.IntN(3)
				tape = append(tape, fmt.Sprintf("%s%d", name, clock[name]))
				given++
			}
		}
		text := playMerge(seed%3 == 0, "abc", strings.Join(tape, " "))
		var lines []string
		for word := range strings.FieldsSeq(text) {
			if word[0] != '?' && word != "end" {
				lines = append(lines, word)
			}
		}
		last := map[string]int{}
		for _, word := range lines {
			var n int
			fmt.Sscan(word[1:], &n)
			key := word[:1]
			if calm {
				key = ""
			}
			if n < last[key] {
				t.Fatalf("seed %d: %s is too late in\n%s\nof %s", seed, word, text, tape)
			}
			last[key] = n
		}
		if len(lines) != given || !strings.HasSuffix(text, "end") {
			t.Fatalf("seed %d: %d lines of %d in\n%s\nof %s", seed, len(lines), given, text, tape)
		}
	}
}
