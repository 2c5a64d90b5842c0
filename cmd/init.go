package cmd

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gopm/ecosystem"
)

// initFile is what gopm init writes.
const initFile = "ecosystem.json"

// initOptions are the options of gopm init.
type initOptions struct {
	force, print, convert bool
	simple                bool // pm2's `init simple`
}

func (c *cli) initCmd() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:     "init [FOLDER]",
		Aliases: []string{"ecosystem"},
		Short:   "Look at a folder and write its ecosystem file",
		Long: `Look at a folder (here, if none is named) and write an ecosystem.json for what is in it:
a Procfile, a package of npm, Go, Python or Rust, a Dockerfile, a script. A file that
gopm takes as it is, like pm2's ecosystem.config.js, is named and left alone; --convert
writes it as JSON, with the values that it has now.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("init wants one folder, got %q", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if info, err := os.Stat(dir); dir == "simple" && (err != nil || !info.IsDir()) {
				dir, o.simple = ".", true
			} else if err != nil || !info.IsDir() {
				return usagef("no such folder: %s", dir)
			}
			return c.init(cmd.Context(), dir, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.force, "force", false, "replace an ecosystem.json that is there")
	f.BoolVar(&o.print, "print", false, "print the file instead of writing it")
	f.BoolVar(&o.convert, "convert", false, "write the ecosystem file that is there as JSON")
	return cmd
}

func (c *cli) init(ctx context.Context, dir string, o initOptions) error {
	path := filepath.Join(dir, initFile)
	if !o.print {
		if err := mayWrite(path, o.force); err != nil {
			return err
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	made := ecosystem.Propose(os.DirFS(abs), filepath.Base(abs), o.simple)
	mode := os.FileMode(0o644)
	switch {
	case o.convert && made.Ready == "":
		return usagef("no ecosystem file in %s to convert", dir)
	case o.convert:
		if made.Text, err = ecosystem.Convert(ctx, filepath.Join(dir, made.Ready), c.options()); err != nil {
			return err
		}
		made.Found = []string{made.Ready + ": with the values that it has now"}
		made.Ready = ""
		mode = 0o600 // it may have taken secrets from the environment
	}
	tell := c.say
	if o.print {
		tell = c.warn // standard output is the file's
	}
	for _, found := range made.Found {
		tell("found %s", found)
	}
	switch {
	case made.Ready != "":
		tell("nothing was written: gopm start %s takes it as it is; as JSON: gopm init %s --convert", filepath.Join(dir, made.Ready), dir)
		return nil
	case o.print:
		_, err := c.out.Write(made.Text)
		return err
	}
	if err := writeNew(path, made.Text, mode, o.force); err != nil {
		return err
	}
	c.say("wrote %s", path)
	if c.readBack(ctx, path) {
		c.say("next: gopm start %s", path)
	} else {
		c.say("next: mend that in the file, then gopm start %s", path)
	}
	return nil
}
