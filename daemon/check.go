package daemon

import (
	"fmt"
	"path/filepath"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// maxInstances bounds what one request can make of an app.
const maxInstances = 4096

// checkApps refuses what the command line never sends, so that a request by hand
// cannot make the daemon do what no file can ask for. The settings have been
// checked where they were read; this is only about what would do harm here.
func checkApps(apps []ecosystem.App) error {
	seen := map[string]bool{}
	for i, a := range apps {
		switch {
		case a.Name == "":
			return api.Errorf(api.KindInvalid, "app %d has no name", i)
		case seen[a.Name]:
			return api.Errorf(api.KindInvalid, "%q: two apps of this name in one request", a.Name)
		case a.Command.Script == "":
			return api.Errorf(api.KindInvalid, "%q has no script", a.Name)
		case !filepath.IsAbs(a.Command.Cwd):
			return api.Errorf(api.KindInvalid, "%q: cwd %q is not absolute", a.Name, a.Command.Cwd)
		case a.Scale.Instances < 1 || a.Scale.Instances > maxInstances:
			return api.Errorf(api.KindInvalid, "%q: want 1 to %d instances, got %d", a.Name, maxInstances, a.Scale.Instances)
		case a.PidFile != "" && !filepath.IsAbs(a.PidFile):
			return api.Errorf(api.KindInvalid, "%q: pid_file %q is not absolute", a.Name, a.PidFile)
		}
		seen[a.Name] = true
	}
	return nil
}

// checkScale refuses a number of instances for which there are no ports, or none of
// the numbers that a request by hand may have.
func checkScale(spec ecosystem.App) error {
	s := spec.Scale
	last := s.Total() - 1
	switch {
	case s.Spares < 0 || s.Spares > maxInstances-s.Instances:
		return fmt.Errorf("%s: want 0 to %d spares, got %d", spec.Name, max(0, maxInstances-s.Instances), s.Spares)
	case spec.Times.IsJob() && s.Total() != 1:
		return fmt.Errorf("%s: it is a job (schedule), which runs as one process, not as %d", spec.Name, s.Total())
	case s.PortStep < 0 || s.PortStep > maxPort:
		return fmt.Errorf("%s: want a port_step from 0 to %d, got %d", spec.Name, maxPort, s.PortStep)
	case spec.Port(0) != 0 && spec.Port(last) == 0:
		return fmt.Errorf("%s: with %d instances the last would get a port above %d; make port, port_step or the number of instances smaller", spec.Name, s.Total(), maxPort)
	}
	return nil
}

const maxPort = 65535
