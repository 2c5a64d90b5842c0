package daemon

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Metrics are measured when somebody asks for them, and only then: nothing counts, polls or
// listens for their sake besides the numbers that are kept anyway. The library knows the
// formats and talks with who asks; its registry, which would have to hold what is gone
// a moment later, isn't used.

// metric is one row of metricTable.
type metric int

const (
	instanceInfo metric = iota
	instanceState
	instanceUp
	instanceWanted
	instanceReady
	instanceHealthy
	instanceChecks
	instanceCheckFailures
	instanceStart
	instanceRestarts
	instanceExits
	instanceUnstable
	instanceLastExit
	instanceLastExitOK
	instanceCPU
	instanceMemory
	instanceFiles
	instanceThreads
	instanceProcesses
	instanceQueue
	instanceQueueRoom
	instanceConnections
	instanceLogBytes
	instanceLogDropped
	instanceLogRotations
	instanceLogTrouble
	instanceRegistered
	instanceLeader
	consulUp
	buildInfo
	processCPU
	processMemory
	processFiles
	processMaxFiles
	processThreads
	processStart
	daemonGoroutines
	daemonRevivals
	daemonEvents
	daemonEventsMissed
	daemonFollowers
	daemonLogDropped
	stateWrites
	stateFailures
	stateBytes
	stateWritable
	scrapeDuration
	metrics = int(scrapeDuration) + 1
)

// metricTable is data only, so that nothing has to be made when a process starts.
var metricTable = [metrics]struct {
	name, help string
	counter    bool
}{
	instanceInfo:          {name: "gopm_instance_info", help: "What an instance is: its value is always 1."},
	instanceState:         {name: "gopm_instance_state", help: "1 for the state that an instance is in, as gopm ls names it, 0 for the others."},
	instanceUp:            {name: "gopm_instance_up", help: "1 if an instance is online."},
	instanceWanted:        {name: "gopm_instance_wanted", help: "1 if an instance should run; for a job, if it is scheduled."},
	instanceReady:         {name: "gopm_instance_ready", help: "1 if the process runs and has shown that it is ready, or was not asked to."},
	instanceHealthy:       {name: "gopm_instance_healthy", help: "1 if the health checks of this run pass, 0 if they fail; absent while that isn't known."},
	instanceChecks:        {name: "gopm_instance_health_checks_total", help: "Health checks of the present run.", counter: true},
	instanceCheckFailures: {name: "gopm_instance_health_check_failures_total", help: "Health checks of the present run that failed.", counter: true},
	instanceStart:         {name: "gopm_instance_start_time_seconds", help: "When the process was started, since the epoch."},
	instanceRestarts:      {name: "gopm_instance_restarts_total", help: "Restarts by reason.", counter: true},
	instanceExits:         {name: "gopm_instance_exits_total", help: "Ends of runs by result.", counter: true},
	instanceUnstable:      {name: "gopm_instance_unstable_exits", help: "Exits before min_uptime in a row."},
	instanceLastExit:      {name: "gopm_instance_last_exit_time_seconds", help: "When the last run ended, since the epoch."},
	instanceLastExitOK:    {name: "gopm_instance_last_exit_success", help: "1 if the last run ended by itself with code 0 or one of stop_exit_codes, or was asked to end."},
	instanceCPU:           {name: "gopm_instance_cpu_seconds_total", help: "Processor time of the process and its descendants.", counter: true},
	instanceMemory:        {name: "gopm_instance_resident_memory_bytes", help: "Resident memory of the process and its descendants; what they share counts for each."},
	instanceFiles:         {name: "gopm_instance_open_fds", help: "Open descriptors of the process and its descendants."},
	instanceThreads:       {name: "gopm_instance_threads", help: "Threads of the process and its descendants."},
	instanceProcesses:     {name: "gopm_instance_processes", help: "The process and its descendants."},
	instanceQueue:         {name: "gopm_instance_accept_queue_length", help: "Connections that wait to be accepted, in cluster mode."},
	instanceQueueRoom:     {name: "gopm_instance_accept_queue_limit", help: "How many connections may wait."},
	instanceConnections:   {name: "gopm_instance_connections", help: "Open connections as the even spread over instances has seen them last, a second ago at most."},
	instanceLogBytes:      {name: "gopm_instance_log_bytes_total", help: "Bytes written to the log.", counter: true},
	instanceLogDropped:    {name: "gopm_instance_log_dropped_bytes_total", help: "Bytes that the log file refused.", counter: true},
	instanceLogRotations:  {name: "gopm_instance_log_rotations_total", help: "Rotations of the log.", counter: true},
	instanceLogTrouble:    {name: "gopm_instance_log_trouble", help: "1 if the log file refuses what is written, or its disk hangs."},
	instanceRegistered:    {name: "gopm_instance_consul_registered", help: "1 if the Consul agent has the instance."},
	instanceLeader:        {name: "gopm_instance_leader", help: "1 if this machine has the lock of a singleton, 0 if it waits."},
	consulUp:              {name: "gopm_consul_agent_up", help: "1 if the Consul agent answers."},
	buildInfo:             {name: "gopm_build_info", help: "The running daemon: its value is always 1."},
	processCPU:            {name: "gopm_process_cpu_seconds_total", help: "Processor time of gopm's own processes.", counter: true},
	processMemory:         {name: "gopm_process_resident_memory_bytes", help: "Resident memory of gopm's own processes."},
	processFiles:          {name: "gopm_process_open_fds", help: "Open descriptors of gopm's own processes."},
	processMaxFiles:       {name: "gopm_process_max_fds", help: "How many descriptors the daemon may have."},
	processThreads:        {name: "gopm_process_threads", help: "Threads of gopm's own processes."},
	processStart:          {name: "gopm_process_start_time_seconds", help: "When gopm's own processes were started, since the epoch."},
	daemonGoroutines:      {name: "gopm_daemon_goroutines", help: "Goroutines of the daemon."},
	daemonRevivals:        {name: "gopm_daemon_revivals_total", help: "Daemons that were started because the one before had died.", counter: true},
	daemonEvents:          {name: "gopm_daemon_events_total", help: "Events of this daemon.", counter: true},
	daemonEventsMissed:    {name: "gopm_daemon_events_missed_total", help: "Events that followers missed because they read too slowly.", counter: true},
	daemonFollowers:       {name: "gopm_daemon_followers", help: "Who follows logs and events now."},
	daemonLogDropped:      {name: "gopm_daemon_log_dropped_lines_total", help: "Lines of the daemon's own log that its disk was too slow for.", counter: true},
	stateWrites:           {name: "gopm_state_writes_total", help: "Times that the state file was written.", counter: true},
	stateFailures:         {name: "gopm_state_write_failures_total", help: "Times that the state file could not be written.", counter: true},
	stateBytes:            {name: "gopm_state_bytes", help: "Size of the state."},
	stateWritable:         {name: "gopm_state_writable", help: "0 while the state can't be written: a reboot would forget what changes."},
	scrapeDuration:        {name: "gopm_scrape_duration_seconds", help: "How long it took to measure all of this."},
}

// meter answers who asks for metrics. Until somebody does there is nothing of it.
type meter struct {
	d    *Daemon
	once sync.Once
	http http.Handler

	listening exposed
}

const (
	metricsAtOnce  = 4 // requests; they share one measuring
	metricsTimeout = 10 * time.Second
)

func newMeter(d *Daemon) *meter { return &meter{d: d} }

func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.once.Do(func() {
		m.http = promhttp.HandlerFor(prometheus.GathererFunc(m.gather), promhttp.HandlerOpts{
			ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: metricsAtOnce, CoalesceGather: true, Timeout: metricsTimeout,
		})
	})
	m.http.ServeHTTP(w, r)
}

// gather measures everything.
func (m *meter) gather() ([]*dto.MetricFamily, error) {
	began := time.Now()
	all, err := allProcesses()
	if err != nil {
		return nil, err
	}
	x := &exposition{all: all, agents: map[string]bool{}}
	for _, a := range m.d.table.Load().apps {
		for _, in := range a.instances {
			x.instance(a, in)
		}
	}
	for agent, up := range x.agents {
		x.set(consulUp, oneIf(up), label("agent", agent))
	}
	x.own(m.d)
	x.set(scrapeDuration, time.Since(began).Seconds())
	return x.list(), nil
}

// exposition is what one measuring has found.
type exposition struct {
	all      processTable
	agents   map[string]bool // Consul's, and whether they answer
	families [metrics]*dto.MetricFamily
}

func (x *exposition) set(m metric, value float64, labels ...*dto.LabelPair) {
	def := &metricTable[m]
	f := x.families[m]
	if f == nil {
		kind := dto.MetricType_GAUGE
		if def.counter {
			kind = dto.MetricType_COUNTER
		}
		f = &dto.MetricFamily{Name: &def.name, Help: &def.help, Type: &kind}
		x.families[m] = f
	}
	one := &dto.Metric{Label: labels}
	if def.counter {
		one.Counter = &dto.Counter{Value: &value}
	} else {
		one.Gauge = &dto.Gauge{Value: &value}
	}
	f.Metric = append(f.Metric, one)
}

// list is the families that have anything, in the order of the table.
func (x *exposition) list() (all []*dto.MetricFamily) {
	for _, f := range x.families {
		if f != nil {
			all = append(all, f)
		}
	}
	return all
}

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
