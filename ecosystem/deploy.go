package ecosystem

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Deploy is one environment of a file's block "deploy": where the code comes from,
// where it goes, and what is done there. It has pm2's names.
type Deploy struct {
	Name  string
	Hosts []string // host or user@host
	SSH   SSH
	Repo  string
	Ref   string // branch, tag or commit; "HEAD" = the repository's own choice
	Fast  bool   // only the newest commits are fetched
	Path  string // on the host; absolute, or "~/…" below the user's home
	Keep  int    // releases that are kept
	Env   map[string]string
	Hooks DeployHooks
}

// SSH is how the hosts are reached.
type SSH struct {
	User         string // where a host doesn't name its own
	Key          string // absolute
	Port         int    // 0: what ssh has configured
	Options      []string
	ForwardAgent bool
}

// DeployHooks are commands for a shell; "" = nothing is done.
type DeployHooks struct {
	PreSetup, PostSetup       string
	PreDeployLocal, PreDeploy string
	PostDeploy                string
	PostDeployGiven           bool // else gopm starts what the file describes
}

// Deploys is the block "deploy" of a file, without errors.
type Deploys struct {
	Path     string   // of the file, absolute
	Problems Problems // warnings and notes only
	HasApps  bool     // there is something to start
	blocks   []Deploy
	envs     []string // NAME of every env_NAME
}

// defaultKeep is how many releases stay on a host.
const defaultKeep = 5

// ReadDeploys reads the block "deploy" of a file. What the file says of apps is not
// checked: what they need may exist on the hosts only.
func ReadDeploys(ctx context.Context, path string, o Options) (*Deploys, error) {
	r, abs := newReader(path, o)
	root, err := r.tree(ctx, abs)
	if err != nil {
		return nil, err
	}
	all := &Deploys{Path: abs}
	if root != nil {
		r.deploys(all, root, isProcfile(abs))
	}
	if all.Problems = r.done(); all.Problems.failed() {
		return nil, all.Problems
	}
	return all, nil
}

func (r *reader) deploys(all *Deploys, root *node, procfile bool) {
	var block *node
	if root.kind == kindObject && !procfile {
		block = root.get("deploy")
	}
	switch {
	case block == nil:
		r.errorf(place{}, "", `it has no block "deploy": see docs/deploy.md`)
		return
	case block.kind != kindObject:
		r.errorf(block.place, "deploy", `want {"production": {…}}, got %s`, block.describe())
		return
	case len(block.members) == 0:
		r.errorf(block.place, "deploy", `it names no environment: want {"production": {…}}`)
	}
	r.duplicates(block, "deploy")
	for _, name := range []string{"apps", "pm2", "script"} {
		n := root.get(name)
		all.HasApps = all.HasApps || n != nil && !n.isOff()
	}
	all.envs = envNames(root, nil)
	for _, m := range block.members {
		if strings.HasPrefix(m.name, "x-") {
			continue
		}
		all.blocks = append(all.blocks, r.deploy(m))
	}
}

// envNames are the NAMEs of all env_NAME blocks.
func envNames(n *node, found []string) []string {
	for _, item := range n.items {
		found = envNames(item, found)
	}
	for _, m := range n.members {
		if name, ok := strings.CutPrefix(m.name, "env_"); ok && m.value.kind == kindObject {
			found = append(found, name)
		}
		if m.name == "apps" || m.name == "pm2" {
			found = envNames(m.value, found)
		}
	}
	return found
}

// Find is the environment of that name.
func (d *Deploys) Find(name string) (Deploy, error) {
	var names []string
	for _, b := range d.blocks {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return Deploy{}, fmt.Errorf("no environment %q to deploy to in %s (there are %s)%s",
		name, d.Path, strings.Join(names, ", "), didYouMean(name, names))
}

// Names are the environments, in the order of the file.
func (d *Deploys) Names() []string {
	var names []string
	for _, b := range d.blocks {
		names = append(names, b.Name)
	}
	return names
}

// HasEnv says whether some app has a block env_NAME.
func (d *Deploys) HasEnv(name string) bool { return slices.Contains(d.envs, name) }

// deploy takes one environment.
func (r *reader) deploy(m member) Deploy {
	d := Deploy{Name: m.name, Ref: "HEAD", Keep: defaultKeep}
	label := join("deploy", m.name)
	if err := checkDeployName(m.name); err != nil {
		r.errorf(m.place, label, "%v", err)
	}
	if m.value.kind != kindObject {
		r.errorf(m.value.place, label, `want an object like {"host": "example.com", "repo": "…", "path": "/srv/app"}, got %s`, m.value.describe())
		return d
	}
	var wrong partErrors
	wrong.add("", m.value.place, takeParts(m.value, "", append(r.deployParts(&d), hookParts(&d.Hooks)...)...))
	for _, e := range wrong {
		r.errorf(e.at, label+e.path, "%v", e.err)
	}
	for _, name := range []string{"host", "repo", "path"} {
		if v := m.value.get(name); v == nil || v.kind == kindNull {
			r.errorf(m.place, label, "it has no %s: %s", name, deployNeed(name))
		}
	}
	r.deployRemarks(m.value, label)
	return d
}

func deployNeed(name string) string {
	switch name {
	case "host":
		return `say where to deploy to, like "host": "www1.example.com" or a list of hosts`
	case "repo":
		return `say where the code is, like "repo": "git@example.com:team/app.git"`
	}
	return `say where it goes on the host, like "path": "/srv/app"`
}

// deployRemarks says what is taken differently than pm2 does.
func (r *reader) deployRemarks(n *node, label string) {
	callsPM2 := regexp.MustCompile(`(^|[\s;&|(])pm2\s`)
	for _, m := range n.members {
		switch {
		case m.name == "needs_tty" && !m.value.isOff():
			r.add(SeverityNote, m.place, join(label, m.name), "no effect here: nothing is asked on the host")
		case (strings.HasPrefix(m.name, "pre-") || strings.HasPrefix(m.name, "post-")) && callsPM2.MatchString(m.value.text):
			r.warnf(m.value.place, join(label, m.name), "it calls pm2; write gopm if gopm is to run the apps")
		}
	}
}

func (r *reader) deployParts(d *Deploy) []part {
	return []part{
		{"host", takes(&d.Hosts, parseHosts)},
		{"user", takes(&d.SSH.User, parsePlainWord)},
		{"key", func(v *node) error { return r.takeKey(&d.SSH.Key, v) }},
		{"port", takes(&d.SSH.Port, parsePortNumber)},
		{"ssh_options", takes(&d.SSH.Options, parseSSHOptions)},
		{"forward-agent", takes(&d.SSH.ForwardAgent, parseYes)},
		{"repo", takes(&d.Repo, parseDeployRepo)},
		{"ref", takes(&d.Ref, parseRef)},
		{"path", takes(&d.Path, parseDeployPath)},
		{"fetch", takes(&d.Fast, parseFetch)},
		{"keep", takes(&d.Keep, parseKeep)},
		{"env", takes(&d.Env, parseDeployEnv)},
		{"needs_tty", func(*node) error { return nil }},
	}
}

func hookParts(h *DeployHooks) []part {
	return []part{
		{"pre-setup", takes(&h.PreSetup, parseText)},
		{"post-setup", takes(&h.PostSetup, parseText)},
		{"pre-deploy-local", takes(&h.PreDeployLocal, parseText)},
		{"pre-deploy", takes(&h.PreDeploy, parseText)},
		{"post-deploy", func(v *node) error {
			h.PostDeployGiven = true
			return takes(&h.PostDeploy, parseText)(v)
		}},
	}
}

// takeKey takes the path of a key, which is on this machine.
func (r *reader) takeKey(to *string, v *node) error {
	s, err := parsePlainWord(v)
	if err != nil {
		return err
	}
	*to = r.world.abs(r.dir, s)
	if info, err := os.Stat(*to); err != nil || info.IsDir() {
		return fmt.Errorf("no such file: %s", *to)
	}
	return nil
}

// checkDeployName refuses names that the command line takes for something else.
func checkDeployName(name string) error {
	if name == "" || name[0] == '-' || !isPrintable(name) || strings.ContainsAny(name, " /") || IsFile(name) {
		return fmt.Errorf("want a word like production as a name")
	}
	return nil
}

// parsePlainWord takes a text that cannot be an option or do tricks on a terminal.
func parsePlainWord(v *node) (string, error) {
	s, err := parseText(v)
	switch {
	case err != nil:
		return "", err
	case s == "":
		return "", fmt.Errorf("is empty")
	case s[0] == '-':
		return "", fmt.Errorf(`can't begin with "-": %s`, quote(s))
	case !isPrintable(s):
		return "", fmt.Errorf("can't have control characters: %s", quote(s))
	}
	return s, nil
}

func parseHosts(v *node) ([]string, error) {
	items := v.items
	if v.kind != kindList {
		items = []*node{v}
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("the list is empty: name a host")
	}
	var hosts []string
	var wrong partErrors
	for i, item := range items {
		host, err := parseHost(item)
		if err == nil && slices.Contains(hosts, host) {
			err = fmt.Errorf("%s is in the list already", host)
		}
		if v.kind != kindList && err != nil {
			return nil, err
		}
		wrong.add(fmt.Sprintf("[%d]", i), item.place, err)
		hosts = append(hosts, host)
	}
	return hosts, wrong.result()
}

func parseHost(v *node) (string, error) {
	s, err := parsePlainWord(v)
	if err != nil {
		return "", err
	}
	user, host, both := strings.Cut(s, "@")
	if !both {
		host = user
	}
	switch {
	case user == "" || host == "" || host[0] == '-' || strings.ContainsAny(s, " /\"'`$;&|<>\\"):
		return "", fmt.Errorf(`want a host like "www1.example.com" or "user@10.0.0.7", got %s`, v.describe())
	case strings.Count(host, ":") == 1:
		name, port, _ := strings.Cut(host, ":")
		return "", fmt.Errorf(`want the host without its port: "host": %q, "port": %s`, name, port)
	}
	return s, nil
}

// parseSSHOptions takes what ssh takes behind -o.
func parseSSHOptions(v *node) ([]string, error) {
	all, err := parseTexts(v)
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		all[i] = strings.TrimSpace(strings.TrimPrefix(s, "-o"))
		if !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*[ =].`).MatchString(all[i]) || !isPrintable(all[i]) {
			return nil, fmt.Errorf(`want options of ssh_config like "StrictHostKeyChecking=accept-new", got %s`, quote(s))
		}
	}
	return all, nil
}

func parseYes(v *node) (bool, error) {
	switch v.text {
	case "yes", "no":
		return v.text == "yes", nil
	}
	return parseBool(v)
}

func parseRef(v *node) (string, error) {
	s, err := parseText(v)
	if err == nil {
		err = CheckRef(s)
	}
	return s, err
}

// CheckRef refuses what no branch, tag or commit is called.
func CheckRef(ref string) error {
	if ref == "" || ref[0] == '-' || strings.ContainsAny(ref, " ?*[\\:") || strings.Contains(ref, "..") || !isPrintable(ref) {
		return fmt.Errorf("want a branch, a tag or a commit, got %s", quote(ref))
	}
	return nil
}

// parseDeployPath takes a folder on the host. Of variables only $HOME is known: a
// path is no piece of a script.
func parseDeployPath(v *node) (string, error) {
	s, err := parsePlainWord(v)
	if err != nil {
		return "", err
	}
	s = fromHome(s)
	switch {
	case strings.Contains(s, "$"):
		return "", fmt.Errorf("of variables only $HOME is known here, got %s", quote(s))
	case filepath.IsAbs(s):
		s = filepath.Clean(s)
	default: // as for ssh, relative to the home
		s = "~/" + strings.TrimPrefix(filepath.Join("/", strings.TrimPrefix(s, "~")), "/")
	}
	if s == "/" || s == "~/" {
		return "", fmt.Errorf("want a folder of its own for the app, got %s", v.describe())
	}
	return s, nil
}

// parseDeployRepo takes what git can fetch from, a folder of the host too.
func parseDeployRepo(v *node) (string, error) {
	s, err := parsePlainWord(v)
	return fromHome(s), err
}

// fromHome writes a path below the home as "~/…".
func fromHome(s string) string {
	for _, home := range []string{"$HOME", "${HOME}"} {
		if rest, ok := strings.CutPrefix(s, home); ok && (rest == "" || rest[0] == '/') {
			return "~" + rest
		}
	}
	return s
}

func parseFetch(v *node) (fast bool, err error) {
	if v.kind == kindText && (v.text == "fast" || v.text == "full") {
		return v.text == "fast", nil
	}
	return false, fmt.Errorf(`want "full" or "fast" (only the newest commits), got %s`, v.describe())
}

func parseKeep(v *node) (int, error) {
	n, err := parseInt(v)
	if err == nil && n < 1 {
		err = fmt.Errorf("want at least 1, got %d", n)
	}
	return n, err
}

func parseDeployEnv(v *node) (map[string]string, error) {
	vars, err := parseVars(v)
	if err != nil {
		return nil, err
	}
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	env := map[string]string{}
	for n, value := range vars {
		if !name.MatchString(n) {
			return nil, fmt.Errorf("%s cannot be a variable of a shell", quote(n))
		}
		if !value.unset {
			env[n] = value.value
		}
	}
	return env, nil
}
