package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// catManager is the floor of the log: each app's pipe, and a cat from there into one file.
type catManager struct{}

func (catManager) name() string               { return floorName }
func (catManager) environment(*life) []string { return nil }
func (catManager) list(*life) []string        { return nil }
func (catManager) prepare(l *life) error      { return os.MkdirAll(filepath.Dir(l.apps[0].log), 0o700) }

func (c catManager) launch(l *life) error {
	for _, a := range l.apps {
		if err := c.one(l, a); err != nil {
			return err
		}
	}
	return nil
}

// one starts an app and its cat.
func (catManager) one(l *life, a app) error {
	out, err := os.Create(a.log)
	if err != nil {
		return err
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	writer := exec.Command(l.child, a.args...)
	writer.Stdout = w
	cat := exec.Command("cat")
	cat.Stdin, cat.Stdout = r, out
	for _, cmd := range []*exec.Cmd{writer, cat} {
		cmd.Env, cmd.Dir = l.env, l.dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		l.own = append(l.own, cmd)
	}
	return nil
}
