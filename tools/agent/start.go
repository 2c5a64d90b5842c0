package agent

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// A process can be ended by the kernel when the thread ends that has started it. starts
// are done by one thread that never does, except with this process.
var starts = sync.OnceValue(func() chan<- func() {
	tasks := make(chan func())
	go func() {
		runtime.LockOSThread()
		for task := range tasks {
			task()
		}
	}()
	return tasks
})

// start starts a process that doesn't outlive this one.
func start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error)
	starts() <- func() { done <- cmd.Start() }
	return <-done
}
