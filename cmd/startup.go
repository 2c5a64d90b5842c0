package cmd

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// startupOptions are the options of gopm startup and unstartup.
type startupOptions struct {
	user    string // -u
	home    string // --hp
	service string // --service-name
	own     bool   // --user: the user's own systemd
	online  bool   // --wait-ip
	dry     bool   // --dry-run
}

func (c *cli) startupCmd() *cobra.Command {
	var o startupOptions
	cmd := &cobra.Command{
		Use:   "startup [systemd]",
		Short: "Have gopm and the apps started at boot (systemd)",
		Long: `Write and enable a unit of systemd, with which gopm is started at boot and starts the
apps that ran before; what you had stopped stays stopped. Nothing has to be saved.

As root it is for root, or with -u for another user. Without root it prints the line to
call with sudo; or with --user it sets up your own systemd, which needs no root.

  sudo gopm startup                 root's apps
  sudo gopm startup -u web          those of the user web
  gopm startup --user               yours, from login on; at boot with loginctl enable-linger

systemctl stop, restart and reload of the unit are gopm kill, the same and a start, and
gopm reload all. After gopm kill the unit stays down until systemctl start or the next boot.`,
		Args: onlySystemd,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.startup(cmd.Context(), o, realMachine())
		},
	}
	addStartupFlags(cmd, &o)
	cmd.Flags().StringVar(&o.home, "hp", "", "the user's home `FOLDER`, if it is not that of /etc/passwd")
	cmd.Flags().BoolVar(&o.online, "wait-ip", false, "wait for the network to have an address")
	return cmd
}

func (c *cli) unstartupCmd() *cobra.Command {
	var o startupOptions
	cmd := &cobra.Command{
		Use:   "unstartup [systemd]",
		Short: "Undo startup; what runs goes on",
		Long:  "Disable and remove the unit that gopm startup wrote. What runs goes on; gopm kill ends it.",
		Args:  onlySystemd,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.unstartup(cmd.Context(), o, realMachine())
		},
	}
	addStartupFlags(cmd, &o)
	cmd.Flags().StringVar(&o.home, "hp", "", "accepted for pm2's sake")
	_ = cmd.Flags().MarkHidden("hp") // it is there
	return cmd
}

func addStartupFlags(cmd *cobra.Command, o *startupOptions) {
	f := cmd.Flags()
	f.StringVarP(&o.user, "user-name", "u", "", "the `USER` whose gopm it is (root)")
	f.StringVar(&o.service, "service-name", "", "the `NAME` of the unit (gopm, or gopm-USER)")
	f.BoolVar(&o.own, "user", false, "your own systemd instead of the machine's")
	f.BoolVar(&o.dry, "dry-run", false, "only print what would be done")
}

// onlySystemd takes systemd and the names of distributions that pm2 takes for it.
func onlySystemd(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one argument at most, got %q", cmd.CalledAs(), args)
	}
	for _, a := range args {
		switch a {
		case "systemd", "ubuntu", "centos", "arch", "oracle":
		default:
			if own, _ := cmd.Flags().GetBool("user"); own {
				return usagef("%s --user is for your own systemd; for the user %s: -u %s", cmd.CalledAs(), a, a)
			}
			return usagef("%s %s: only systemd is known; for others the unit of gopm startup --dry-run says what to call when", cmd.CalledAs(), a)
		}
	}
	return nil
}

func (c *cli) startup(ctx context.Context, o startupOptions, m machine) error {
	p, err := m.plan(o, c.client.Home())
	if err != nil {
		return err
	}
	text, err := p.unit.text()
	if err != nil {
		return err
	}
	switch {
	case o.dry:
		fmt.Fprint(c.out, text)
		c.warn("would write this to %s, then: %s", p.file, strings.Join(p.commands("enable"), "; "))
		return nil
	case !m.has("systemctl"):
		fmt.Fprint(c.out, text)
		return fmt.Errorf("systemd is not here (found: %s): nothing was done; this unit says what your init system has to call, as which user", m.otherInit())
	case !o.own && m.uid != 0:
		return c.printSudo(m.sudoLine("startup", o, p))
	}
	changed, err := m.write(p.file, text)
	if err != nil {
		return err
	}
	if err := m.systemctl(ctx, p.commands("enable")); err != nil {
		return fmt.Errorf("wrote %s, but: %w", p.file, err)
	}
	if changed {
		c.say("wrote %s", p.file)
	} else {
		c.say("%s was there and is right", p.file)
	}
	c.say("%s is enabled: at boot gopm starts what runs now (gopm save is not needed)", p.name)
	c.adviseAfter(o, m, p)
	return nil
}

// adviseAfter says what the user has to know or do beside.
func (c *cli) adviseAfter(o startupOptions, m machine, p bootPlan) {
	manager := "systemctl"
	if o.own {
		manager = "systemctl --user"
		if !m.lingers(p.user) {
			c.say("%s's systemd runs from login to logout; to have it from boot on: sudo loginctl enable-linger %s", p.user, p.user)
		}
	}
	if !m.booted() {
		c.say("systemd does not run here (a container?): the unit takes effect where it does")
		return
	}
	switch keeper := (api.Home{Dir: p.unit.home}).Keeper(); {
	case keeper == 0:
		c.say("to start it now: %s start %s", manager, p.name)
	case m.inUnit(int(keeper), p.name):
	default:
		c.say("gopm runs already%s, outside of the unit, and goes on; to move it there now, with a restart of the apps: %s && %s start %s",
			keeper.Text(), p.asUser("kill"), manager, p.name)
	}
	if o.own || p.user != "root" {
		return
	}
	if who := m.getenv("SUDO_USER"); o.user == "" && who != "" && who != "root" {
		c.say("these are root's apps; for %s's: sudo gopm startup -u %s", who, who)
	}
	if owner := m.mayChange(p.unit.binary); owner != "" {
		c.warn("warning: root runs %s at boot, which %s may change: sudo install %s /usr/local/bin/", p.unit.binary, owner, p.unit.binary)
	}
}

// printSudo prints the line that root has to call, alone on standard output.
func (c *cli) printSudo(line string) error {
	c.warn("/etc/systemd/system is root's: call the line below; or, for your own systemd, use --user")
	fmt.Fprintln(c.out, line)
	return quiet{exitFailed}
}

func (c *cli) unstartup(ctx context.Context, o startupOptions, m machine) error {
	p, err := m.plan(o, c.client.Home())
	if err != nil {
		return err
	}
	switch {
	case o.dry:
		c.say("would remove %s after: %s", p.file, strings.Join(p.commands("disable"), "; "))
		return nil
	case !o.own && m.uid != 0:
		return c.printSudo(m.sudoLine("unstartup", o, p))
	}
	there, err := m.isOurs(p.file)
	if err != nil {
		return err
	}
	if !there {
		c.say("there is no %s: nothing to undo", p.file)
		return nil
	}
	// A unit has to be there to be disabled, and gone before systemd reads anew.
	commands := p.commands("disable")
	if err := m.systemctl(ctx, commands[:1]); err != nil {
		return err
	}
	if err := os.Remove(p.file); err != nil {
		return fmt.Errorf("cannot remove the unit: %v", err)
	}
	if err := m.systemctl(ctx, commands[1:]); err != nil {
		return err
	}
	c.say("removed %s: gopm is not started at boot any more; what runs goes on", p.file)
	return nil
}

// boot is what the unit calls at boot, and again when systemd has seen the keeper die:
// gopm is started, also without any app, so that it is in the unit from then on, and
// starts what should run. Nothing is waited for: a slow or broken app is no reason for
// systemd to begin anew. The keeper's pid goes into a file for systemd.
func (c *cli) boot(ctx context.Context) error {
	if err := c.ensureDaemon(ctx); err != nil {
		return err
	}
	home := c.client.Home()
	var out api.Outcome
	if err := c.client.Post(ctx, api.PathResurrect, api.Resurrect{}, &out); err != nil {
		return err
	}
	c.report(out)
	keeper, err := awaitKeeper(ctx, home)
	if err != nil {
		return err
	}
	if err := os.WriteFile(home.BootPid(), []byte(strconv.Itoa(int(keeper))+"\n"), 0o600); err != nil {
		return fmt.Errorf("cannot tell systemd the keeper's pid: %v", err)
	}
	return nil
}

// awaitKeeper waits for the keeper to have its lock: a daemon whose keeper has just
// died is about to start another.
func awaitKeeper(ctx context.Context, home api.Home) (api.Holder, error) {
	const limit, pause = 10 * time.Second, 20 * time.Millisecond
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if keeper := home.Keeper(); keeper > 0 {
			return keeper, nil
		}
		select {
		case <-bounded.Done():
			return 0, fmt.Errorf("the keeper cannot be found: nobody holds %s; the last lines of %s may tell why", home.KeeperLock(), home.Log())
		case <-tick.C:
		}
	}
}
