package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// lineLength is that of child.c's "log", newline included.
const lineLength = 100

// tally is what a log of numbered lines holds.
type tally struct {
	lines                       int // expected
	lost, twice, torn, disorder int
	bytes                       int64
}

// String says what is wrong; empty = every line is there once, whole and in its place.
func (t tally) String() string {
	if t.lost+t.twice+t.torn+t.disorder == 0 && t.bytes == int64(t.lines)*lineLength {
		return ""
	}
	return fmt.Sprintf("%d lines: %d lost, %d twice, %d torn or foreign, %d out of order, %d bytes instead of %d",
		t.lines, t.lost, t.twice, t.torn, t.disorder, t.bytes, int64(t.lines)*lineLength)
}

// check reads the files of one log, the oldest first, and compares every line with what
// child.c's "log" wrote. A line that is cut at the end of a file counts as torn.
func check(tag string, lines int, files []string) (tally, error) {
	c := checker{tally: tally{lines: lines}, seen: make([]bool, lines), last: -1, expect: expected(tag)}
	for _, path := range files {
		if err := c.file(path); err != nil {
			return c.tally, fmt.Errorf("cannot check %s: %v", path, err)
		}
	}
	for _, seen := range c.seen {
		if !seen {
			c.lost++
		}
	}
	return c.tally, nil
}

// checker is the state between two lines.
type checker struct {
	tally
	seen   []bool
	last   int
	expect func(int) []byte
}

func (c *checker) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadSlice('\n')
		c.bytes += int64(len(line))
		if len(line) > 0 {
			c.line(line)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (c *checker) line(line []byte) {
	i := numberOf(line)
	if i < 0 || i >= c.lines || !bytes.Equal(line, c.expect(i)) {
		c.torn++
		return
	}
	if c.seen[i] {
		c.twice++
	}
	c.seen[i] = true
	if i < c.last {
		c.disorder++
	}
	c.last = i
}

// numberOf is the number in a line; -1 where there is none. The line is compared as a whole afterwards.
func numberOf(line []byte) int {
	_, rest, _ := bytes.Cut(line, []byte(" "))
	if len(rest) < 9 {
		return -1
	}
	n := 0
	for _, digit := range rest[:9] {
		if digit < '0' || digit > '9' {
			return -1
		}
		n = n*10 + int(digit-'0')
	}
	return n
}

// expected makes the lines that child.c writes. The result of a call is good until the next one.
func expected(tag string) func(int) []byte {
	head := "@@" + tag + " "
	var ready [26][]byte
	for k := range ready {
		ready[k] = bytes.Repeat([]byte{byte('a' + k)}, lineLength)
		copy(ready[k], head+"000000000 ")
		ready[k][lineLength-1] = '\n'
	}
	return func(i int) []byte {
		line := ready[i%26]
		for at := len(head) + 8; at >= len(head); at-- {
			line[at] = byte('0' + i%10)
			i /= 10
		}
		return line
	}
}
