package supervise

// Ancestry is a process and those above it, the nearest first, as far as they can be seen
// now, without the first process.
func Ancestry(pid int) []Run { return procfs{root: "/proc"}.ancestry(pid) }

// maxAncestry is far more than a tree of programs has.
const maxAncestry = 64

func (p procfs) ancestry(pid int) (all []Run) {
	for len(all) < maxAncestry && pid > 1 {
		st, err := p.stat(pid)
		if err != nil {
			break
		}
		all = append(all, Run{Pid: pid, StartTime: st.start})
		pid = st.ppid
	}
	return all
}
