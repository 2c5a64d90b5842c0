package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// shimNames are the programs of pm2 whose place gopm can take.
var shimNames = []string{"pm2", "pm2-runtime", "pm2-docker"}

func (c *cli) shimsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "shims DIR",
		Short: "Make links named pm2, pm2-runtime and pm2-docker, for software that calls pm2",
		Long: `Make links to this program in a folder: pm2, pm2-runtime and pm2-docker. Called by one of
these names gopm behaves as that program, so that software which starts pm2 runs on gopm
unchanged. What is there already and isn't such a link stays, and is an error.

  gopm shims /opt/gopm/shims && export PATH=/opt/gopm/shims:$PATH`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("shims wants the folder for the links, as in: gopm shims /opt/gopm/shims")
			}
			return c.makeShims(args[0])
		},
	}
}

func (c *cli) makeShims(folder string) error {
	dir, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	program := binaryPath()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the folder: %v", err)
	}
	var missing []string
	for _, name := range shimNames { // all of them first: half of a set is of no use
		switch ours, there := isShim(filepath.Join(dir, name), program); {
		case there && !ours:
			return fmt.Errorf("%s is there and no link to gopm: nothing was made; take it away, or choose another folder", filepath.Join(dir, name))
		case !there:
			missing = append(missing, name)
		}
	}
	for _, name := range missing {
		path := filepath.Join(dir, name)
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 { // to a gopm that is gone
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("cannot replace the link: %v", err)
			}
		}
		if err := os.Symlink(program, path); err != nil {
			return fmt.Errorf("cannot make the link: %v", err)
		}
	}
	c.say("%s in %s lead to %s", strings.Join(shimNames, ", "), dir, program)
	if found, err := exec.LookPath(shimNames[0]); err != nil || filepath.Dir(found) != dir {
		c.say("put it first in PATH: export PATH=%s:$PATH", dir)
	}
	return nil
}

// isShim says whether a path is a link to this program, or to a gopm that is gone, which
// counts as not there.
func isShim(path, program string) (ours, there bool) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, false
	}
	own, err := os.Stat(program)
	info, err2 := os.Stat(path)
	if err == nil && err2 == nil {
		return os.SameFile(own, info), true
	}
	target, err := os.Readlink(path)
	return false, err != nil || filepath.Base(target) != filepath.Base(program)
}

// shim is the name of pm2's by which this program was called; "" = its own.
func shim(arg0 string) string {
	if name := filepath.Base(arg0); slices.Contains(shimNames, name) {
		return name
	}
	return ""
}

// behindShim is the program that a shim leads to: an update looks there, for the shims
// may be taken away.
func behindShim(path string) string {
	if shim(path) == "" {
		return path
	}
	target, err := os.Readlink(path)
	if err != nil {
		return path // it is the program itself, by another name
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	return target
}

// pm2Getenv is the environment of a call by a name of pm2's: who keeps several pm2s apart
// by PM2_HOME keeps several gopms apart. That holds for what runs under gopm, too, whose
// GOPM_HOME nobody has chosen for it: it may be software that starts a pm2-runtime of its own.
func pm2Getenv(name string) string {
	value := os.Getenv(name)
	if name == "GOPM_HOME" && (value == "" || os.Getenv("GOPM_LIFE") != "") {
		if pm2 := os.Getenv("PM2_HOME"); pm2 != "" {
			return filepath.Join(pm2, "gopm")
		}
	}
	return value
}

// understand makes of a call by a name of pm2's one of gopm's.
func (c *cli) understand(args []string) []string {
	made := map[string]*cobra.Command{}
	world := pm2World{
		knows: func(command, option string) bool {
			if leftOutOfRuntime[option] != "" { // a person is told, software that calls pm2 is to run
				return false
			}
			if made[command] == nil {
				made[command] = c.root([]string{command})
			}
			cmd, _, err := made[command].Find([]string{command})
			return err == nil && (cmd.Flags().Lookup(option) != nil || cmd.InheritedFlags().Lookup(option) != nil)
		},
		isFolder: func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.IsDir()
		},
	}
	translate := fromPM2
	if c.calledAs != shimNames[0] {
		translate = fromRuntime
	}
	call, dropped := translate(args, world)
	if len(dropped) > 0 && !slices.Contains(call, "--silent") {
		c.warn("note: no effect here: %s", strings.Join(dropped, " "))
	}
	return call
}

// pm2Succeeds are pm2's commands that find nothing, or have nothing to do, with exit code 0.
// Scripts look at their output, and end at another code.
const pm2Succeeds = "id pid save dump flush update updatePM2"

// asPM2 is how a command ends for who has called it by a name of pm2's.
func (c *cli) asPM2(args []string, err error) error {
	answer, isAPI := asAPIError(err)
	nothing := isAPI && answer.Kind == api.KindNotFound || noDaemon(err) || errors.Is(err, errNothingToSave)
	word := firstWord(args)
	if c.calledAs == "" || !nothing || !hasWord(pm2Succeeds, word) {
		return err
	}
	if word == "id" {
		fmt.Fprintln(c.out, "[]")
	}
	c.warn("note: %v", err)
	return nil
}

// builtIn answers pm2's usual module as installed: what it does is built in.
func (c *cli) builtIn(args []string) bool {
	if c.calledAs == "" || len(args) < 2 || !hasWord("install module:install", args[0]) {
		return false
	}
	name, _, _ := strings.Cut(args[1], "@")
	if name != "pm2-logrotate" {
		return false
	}
	c.say("pm2-logrotate: rotation is built in and on (10M, 10 files kept); max_size, retain, compress and rotate_interval in the ecosystem file change it")
	return true
}
