package cmd

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

func (c *cli) sendCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "send ID|NAME LINE",
		Short: "Write a line to the standard input of an app",
		Long: `Write a line to the standard input of an app that has stdin: true. An app of several
instances is named by the id of one. The words of a line may be given without quotes; - sends each
line of gopm's own standard input.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("send wants an app and a line, as in: gopm send shell 'print status'")
			}
			if len(args) == 2 && args[1] == "-" {
				return c.sendAll(cmd, args[0])
			}
			sent, err := c.sendLines(cmd, args[0], []string{strings.Join(args[1:], " ")})
			if err != nil {
				return err
			}
			return c.tellSent(sent, 1)
		},
	}
}

func (c *cli) sendLines(cmd *cobra.Command, target string, lines []string) (sent api.Sent, err error) {
	err = c.client.Post(cmd.Context(), api.PathSend, api.Send{Target: target, Lines: lines}, &sent)
	return sent, err
}

// sendAll sends the lines of standard input as they come.
func (c *cli) sendAll(cmd *cobra.Command, target string) error {
	var last api.Sent
	n := 0
	in := bufio.NewScanner(c.in)
	const longest = 1 << 20
	in.Buffer(nil, longest)
	for in.Scan() {
		sent, err := c.sendLines(cmd, target, []string{in.Text()})
		if err != nil {
			if n > 0 {
				c.warn("gopm: %d lines were sent before", n)
			}
			return err
		}
		last = sent
		n++
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("cannot read standard input: %v", err)
	}
	if n == 0 {
		return usagef("standard input has no line to send")
	}
	return c.tellSent(last, n)
}

func (c *cli) tellSent(sent api.Sent, n int) error {
	sent.Lines = n
	if c.json {
		return c.printJSON(sent)
	}
	lines := "1 line"
	if n > 1 {
		lines = fmt.Sprintf("%d lines", n)
	}
	c.say("sent %s to %s (id %d)", lines, sent.Name, sent.ID)
	return nil
}
