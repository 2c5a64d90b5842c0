package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// renderOptions are the options of fleet render.
type renderOptions struct {
	balancer, app string
	here          bool   // ask no Consul
	output        string // "" = stdout
	follow        bool
	exec          string // for /bin/sh, after output has changed
}

const renderHelp = `Print a block for nginx's or haproxy's configuration with the instances that pass their checks now, on
all machines, as Consul knows them. With --here those of this gopm alone, of an app or of a
namespace, without Consul.

  gopm fleet render nginx web
  gopm fleet render nginx web --here --follow --output upstream.conf --exec "nginx -s reload"

With --follow the file is kept up to date while instances come, go and fail their checks; when it has
changed the command is executed. That is an app like any other: put it into the ecosystem file.`

func (c *cli) fleetRenderCmd() *cobra.Command {
	var o renderOptions
	cmd := &cobra.Command{
		Use:   "render nginx|haproxy APP",
		Short: "Print where an app's instances listen, for a balancer",
		Long:  renderHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 || balancers[args[0]] == nil {
				return usagef("fleet render wants nginx or haproxy, and an app, got %q", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.balancer, o.app = args[0], args[1]
			switch {
			case o.follow && !o.here:
				return usagef("--follow hears of this gopm's own instances only: it wants --here; consul-template and the like follow Consul")
			case o.output == "" && (o.follow || o.exec != ""):
				return usagef("--follow and --exec are about a file: they want --output FILE")
			case o.follow:
				return c.followRender(cmd.Context(), o)
			}
			return c.render(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.here, "here", false, "the instances of this gopm alone, without Consul; APP may be a namespace")
	f.StringVarP(&o.output, "output", "o", "", "write `FILE`, if it isn't as it should be")
	f.BoolVarP(&o.follow, "follow", "f", false, "keep the file up to date")
	f.StringVar(&o.exec, "exec", "", "execute `COMMAND` when the file was written")
	return cmd
}

// render prints or writes the block once.
func (c *cli) render(ctx context.Context, o renderOptions) error {
	text, e, err := c.rendered(ctx, o)
	switch {
	case err != nil:
		return err
	case o.output == "":
		_, err = io.WriteString(c.out, text)
		return err
	}
	return c.putRendered(ctx, o, text, e)
}

// rendered is the block as it is now. A file that a balancer includes has one without
// servers, too: then nobody is to be sent anywhere.
func (c *cli) rendered(ctx context.Context, o renderOptions) (text string, e api.Endpoints, err error) {
	query := api.FleetQuery{App: o.app, Environ: consulEnviron(), Here: o.here}
	if err = c.client.Post(ctx, api.PathFleetEndpoints, query, &e); err != nil {
		return "", e, err
	}
	servers, odd := serversOf(e)
	for i := range servers {
		servers[i].checked = o.here
	}
	for _, text := range odd {
		c.warn("left out: %s", text)
	}
	if len(servers) == 0 && o.output == "" {
		who, where := e.Service, "here"
		if !o.here {
			who, where = "the service "+e.Service, "in Consul at "+e.Consul
		}
		return "", e, fmt.Errorf("no instance of %s passes its checks (%d are %s): a block without servers would be refused", who, e.Others+len(e.Passing), where)
	}
	head := fmt.Sprintf("%s: %d instances that pass their checks (%d do not), from Consul at %s, %s", e.Service, len(e.Passing), e.Others, e.Consul, time.Now().UTC().Format(time.RFC3339))
	if o.here {
		head = fmt.Sprintf("%s: the instances of this gopm that pass their checks", e.Service) // nothing that changes by itself
	}
	return fmt.Sprintf("# %s\n# gopm fleet render %s %s\n%s", printable(head), o.balancer, printable(o.app), balancers[o.balancer](word(e.Service), servers)), e, nil
}

// server is where a balancer sends somebody: one or more instances.
type server struct {
	name    string
	address string // with its port, an IPv6 address in brackets
	weight  int
	checked bool // gopm takes it out itself when it fails: the balancer is to go by that, and not to keep it out for longer
}

var balancers = map[string]func(name string, all []server) string{"nginx": nginxBlock, "haproxy": haproxyBlock}

// serversOf are the servers of some instances: those that share a port are one. What
// Consul has may be anybody's writing: an address that is none is left out.
func serversOf(e api.Endpoints) (all []server, odd []string) {
	for _, p := range e.Passing {
		if p.Address == "" || net.ParseIP(p.Address) == nil && word(p.Address) != p.Address || p.Port < 1 || p.Port > 65535 {
			odd = append(odd, fmt.Sprintf("%s listens at %q, port %d", p.ID, p.Address, p.Port))
			continue
		}
		address := net.JoinHostPort(p.Address, strconv.Itoa(p.Port))
		weight := min(max(p.Weight, 1), 1000)
		if at := slices.IndexFunc(all, func(s server) bool { return s.address == address }); at >= 0 {
			all[at].weight += weight
			continue
		}
		all = append(all, server{name: word(strings.TrimPrefix(p.ID, "gopm:")), address: address, weight: weight})
	}
	return all, odd
}

// word is a name that every balancer takes.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r) {
			return r
		}
		return '_'
	}, s)
}

func nginxBlock(name string, all []server) string {
	var b strings.Builder
	fmt.Fprintf(&b, "upstream %s {\n", name)
	if len(all) == 0 { // nginx wants one; so it answers 502, which error_page makes what is wanted
		b.WriteString("    server 127.0.0.1:9 down; # there is none\n")
	}
	for _, s := range all {
		more := ""
		if s.checked {
			more = " max_fails=0"
		}
		fmt.Fprintf(&b, "    server %s weight=%d%s; # %s\n", s.address, s.weight, more, s.name)
	}
	return b.String() + "}\n"
}

// haproxyBlock has weights of 1 to 256, which is what haproxy takes.
func haproxyBlock(name string, all []server) string {
	const most = 256
	heaviest := 0
	for _, s := range all {
		heaviest = max(heaviest, s.weight)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "backend %s\n    balance roundrobin\n", name)
	for _, s := range all {
		if heaviest > most {
			s.weight = max(1, s.weight*most/heaviest)
		}
		fmt.Fprintf(&b, "    server %s %s weight %d check\n", s.name, s.address, s.weight)
	}
	return b.String()
}
