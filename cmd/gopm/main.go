// Command gopm is a process manager for Linux.
package main

import (
	"os"

	"gopm/cmd"
)

func main() {
	os.Exit(cmd.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
