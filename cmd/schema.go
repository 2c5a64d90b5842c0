package cmd

import (
	"github.com/spf13/cobra"

	"gopm/ecosystem"
)

func (c *cli) schemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the ecosystem file",
		Long: `Print a JSON Schema (2020-12) of the ecosystem file, so that an editor knows its fields:

  gopm schema > ecosystem.schema.json

and in the file: "$schema": "./ecosystem.schema.json"`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.out.Write(ecosystem.Schema())
			return err
		},
	}
}
