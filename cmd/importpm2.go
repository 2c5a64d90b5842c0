package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/ecosystem"
)

// maxList bounds what is read of pm2: 6 KB per process are usual.
const maxList = 64 << 20

// importOptions are the options of gopm import.
type importOptions struct {
	output string
	force  bool
}

func (c *cli) importCmd() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import pm2 [FILE]",
		Short: "Make an ecosystem file of what pm2 runs",
		Long: `Make an ecosystem file of the apps that pm2 has: of its list when it runs, else of the
last "pm2 save" (dump.pm2), or of FILE: a dump, or what "pm2 jlist" printed ("-" reads it
from standard input). pm2 is only asked, never changed, and not started.

pm2 keeps an app's variables together with those of the shell it was started from. What
your shell has now, and what belongs to a session, is left out; look at env in the file.
The file may hold secrets, so only you can read it (mode 0600).`,
		ValidArgs: []string{"pm2"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 || args[0] != "pm2" {
				return usagef("import wants: gopm import pm2 [FILE]")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.importPM2(cmd.Context(), args[1:], o)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "ecosystem.json", "write this `FILE`")
	cmd.Flags().BoolVar(&o.force, "force", false, "replace the file if it is there")
	return cmd
}

func (c *cli) importPM2(ctx context.Context, args []string, o importOptions) error {
	if err := mayWrite(o.output, o.force); err != nil {
		return err
	}
	list, home, err := c.pm2List(ctx, args)
	if err != nil {
		return err
	}
	modules, err := os.ReadFile(filepath.Join(home, "module_conf.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.warn("warning: cannot read pm2-logrotate's settings: %v", err)
	}
	opts := c.options()
	opts.Dir = filepath.Dir(filepath.Join(opts.Dir, o.output))
	if filepath.IsAbs(o.output) {
		opts.Dir = filepath.Dir(o.output)
	}
	made, err := ecosystem.ImportPM2(list, modules, opts)
	if err != nil {
		return fmt.Errorf("cannot import: %v", err)
	}
	if err := writeNew(o.output, made.Text, 0o600, o.force); err != nil {
		return err
	}
	c.say("%s: %s", o.output, strings.Join(made.Names, ", "))
	for _, note := range made.Notes {
		c.say("note: %s", note)
	}
	if c.readBack(ctx, o.output) {
		c.say("next: look at it, then: pm2 kill; gopm start %s", o.output)
	} else {
		c.say("next: mend that in the file, then: pm2 kill; gopm start %s", o.output)
	}
	return nil
}

// readBack says what gopm will say about a file that was just written, and whether
// it can be started. Mistakes are no failure: what it names may come later.
func (c *cli) readBack(ctx context.Context, path string) bool {
	file, err := ecosystem.Read(ctx, path, c.options())
	var problems ecosystem.Problems
	switch {
	case errors.As(err, &problems):
		c.printProblems(problems)
	case err != nil:
		c.warn("warning: %v", err)
	default:
		c.remark(file.Problems)
	}
	return err == nil
}

// pm2List is what pm2 knows, and its home.
func (c *cli) pm2List(ctx context.Context, args []string) (list []byte, home string, err error) {
	home = os.Getenv("PM2_HOME")
	if home == "" {
		home = filepath.Join(os.Getenv("HOME"), ".pm2")
	}
	if len(args) > 0 {
		if args[0] == "-" {
			list, err = io.ReadAll(io.LimitReader(c.in, maxList))
		} else {
			list, err = readBounded(args[0])
		}
		if err != nil {
			return nil, "", usagef("cannot read pm2's list: %v", err)
		}
		return list, home, nil
	}
	if pm2Runs(home) {
		if list, err = pm2Jlist(ctx, home); err == nil {
			return list, home, nil
		}
		c.warn("warning: pm2 runs, but %v; its last dump is used", err)
	}
	dump := filepath.Join(home, "dump.pm2")
	list, err = readBounded(dump)
	if err != nil {
		return nil, "", fmt.Errorf("cannot find pm2's apps: no pm2 runs with the home %s, and %v; run `pm2 save`, or name a file", home, err)
	}
	c.say("pm2 does not run (home %s): its last save is used, %s", home, dump)
	return list, home, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxList))
}

// pm2Runs asks pm2's socket: `pm2 jlist` would start a daemon if there is none.
func pm2Runs(home string) bool {
	conn, err := net.DialTimeout("unix", filepath.Join(home, "rpc.sock"), time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// pm2Jlist runs `pm2 jlist`.
func pm2Jlist(ctx context.Context, home string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, "pm2", "jlist")
	cmd.Env = append(os.Environ(), "PM2_HOME="+home)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errOut, time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("`pm2 jlist` fails: %v", err)
	}
	return out.Bytes(), nil
}

// mayWrite says early that a file is there, before work is done for nothing.
func mayWrite(path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return usagef("%s is there already, nothing was written; --force replaces it", path)
	}
	return nil
}

// writeNew writes a file that is not there yet; with force it replaces one at once.
func writeNew(path string, text []byte, mode fs.FileMode, force bool) error {
	name := path
	if force {
		name = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+strconv.Itoa(os.Getpid()))
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) && !force {
		return mayWrite(path, false)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %v", path, withoutPath(err))
	}
	_, err = f.Write(text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil && force {
		err = os.Rename(name, path)
	}
	if err != nil {
		os.Remove(name)
		return fmt.Errorf("cannot write %s: %v", path, withoutPath(err))
	}
	return nil
}

// withoutPath takes the path out of a file error: the caller says it better.
func withoutPath(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
