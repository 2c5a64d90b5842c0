package cmd

import (
	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

func (c *cli) metricsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "metrics",
		Short: "Print metrics for Prometheus",
		Long: `Print what Prometheus would read: of each instance its state, restarts by reason, processor
time, memory, connections and log, and of gopm itself. All of it is measured now; nothing
is while nobody asks. What each means: docs/monitoring.md.

  gopm metrics                                        once, as text
  curl --unix-socket ~/.gopm/gopm.sock http://gopm/metrics
  GOPM_METRICS=127.0.0.1:9209 gopm start FILE         the daemon that this starts serves them
                                                      at http://127.0.0.1:9209/metrics, too;
                                                      unix:/PATH is a socket

GOPM_METRICS counts when the daemon begins: for one that runs, gopm kill, then
GOPM_METRICS=… gopm resurrect.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := c.client.Text(cmd.Context(), api.PathMetrics)
			if err != nil {
				return err
			}
			_, err = c.out.Write(text)
			return err
		},
	}
}
