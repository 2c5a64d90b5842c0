package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// frame is a picture of the screen while it is drawn.
type frame struct {
	bytes.Buffer
	screen io.Writer // the terminal it is for
}

// watchList draws the list in place until Ctrl-C, as pm2 does it every 0.9 s.
func (c *cli) watchList(ctx context.Context, o listOptions) error {
	screen := c.out
	if !isTerminal(screen) || c.json {
		return usagef("ls --watch draws on a terminal; for programs: gopm ls --json, as often as you like")
	}
	const every = 900 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		f := &frame{screen: screen}
		c.out = f
		err := c.printList(ctx, o)
		c.out = screen
		var left *leftError
		switch {
		case errors.As(err, &left):
			fmt.Fprintln(f, err)
		case err != nil:
			return err
		}
		text, _ := harmless(nil, f.Bytes(), true)
		if _, err := under(screen).Write(inPlace(text, terminalHeight(screen))); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// inPlace draws text from the top of a screen, over what is there: nothing
// flickers. What does not fit is cut off.
func inPlace(text []byte, height int) []byte {
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if height > 1 && len(lines) > height-1 {
		lines = append(lines[:height-2:height-2], []byte("…"))
	}
	out := []byte("\x1b[H")
	for _, line := range lines {
		out = append(out, line...)
		out = append(out, "\x1b[K\n"...) // to the end of the line
	}
	return append(out, "\x1b[J"...) // to the end of the screen
}
