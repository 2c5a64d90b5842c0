// Package supervise keeps one process running: a pure state machine (Step) and
// the goroutine that carries out its decisions (Process). Shared by all
// processes of a daemon are a Kernel (one epoll for all pidfds, a bounded number
// of spawns at a time) and nothing else.
//
// The rooms: machine.go has the states, the events and the table of rules;
// rules.go the rules; process.go the actor; kernel.go the watching of exits;
// spawn.go and fault.go how a program is started and why it could not be;
// child.go how it is signalled and reaped; orphans.go and clear.go how what it
// leaves behind is found and ended; restore.go, adopt.go, note.go and strays.go how
// the next daemon goes on after this one's death.
//
// Goroutines: one per Process, ended by Close or Abandon; one per OSKernel, ended
// by Close; one for the time of a spawn and one for the time of a clearing.
package supervise
