package main

import (
	"fmt"
	"go/ast"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// The limits. Beyond them a reader can't hold the thing in mind. The functions of
// tests are free: a table of cases may be as long as the cases are many.
const (
	maxFile    = 500
	maxFunc    = 60
	maxFields  = 15
	maxMethods = 5
	maxParams  = 5
)

// sizes names what is larger than the limits.
func sizes(sources []source) []string {
	var findings []string
	for _, s := range sources {
		if s.lines > maxFile {
			findings = append(findings, fmt.Sprintf("%s: %d lines, at most %d", s.name, s.lines, maxFile))
		}
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if finding := tooLarge(s, n); finding != "" {
				findings = append(findings, finding)
			}
			return true
		})
	}
	return findings
}

// tooLarge looks at one piece of syntax.
func tooLarge(s source, n ast.Node) string {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if h := s.height(n); h > maxFunc {
			return fmt.Sprintf("%s: function %s: %d lines, at most %d", s.at(n.Pos()), n.Name.Name, h, maxFunc)
		}
		if c := count(n.Type.Params); c > maxParams {
			return fmt.Sprintf("%s: function %s: %d parameters, at most %d", s.at(n.Pos()), n.Name.Name, c, maxParams)
		}
	case *ast.TypeSpec:
		switch t := n.Type.(type) {
		case *ast.StructType:
			if c := count(t.Fields); c > maxFields {
				return fmt.Sprintf("%s: struct %s: %d fields, at most %d", s.at(n.Pos()), n.Name.Name, c, maxFields)
			}
		case *ast.InterfaceType:
			if c := count(t.Methods); c > maxMethods {
				return fmt.Sprintf("%s: interface %s: %d methods, at most %d", s.at(n.Pos()), n.Name.Name, c, maxMethods)
			}
		}
	}
	return ""
}

// count is the number of fields: `a, b int` are two, an embedded type is one.
func count(fields *ast.FieldList) int {
	n := 0
	for _, f := range fields.List {
		n += max(len(f.Names), 1)
	}
	return n
}

// sleeps names the tests that wait for time: slow where it is too long, flaky where
// it is too short.
func sleeps(sources []source) []string {
	var findings []string
	for _, s := range sources {
		if !s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				findings = append(findings, fmt.Sprintf("%s: time.Sleep in a test: wait for a fact instead", s.at(n.Pos())))
			}
			return true
		})
	}
	return findings
}

// inits names the init functions: work that every process does, asked or not.
func inits(sources []source) []string {
	var findings []string
	for _, s := range sources {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				findings = append(findings, fmt.Sprintf("%s: func init: every process pays for it", s.at(f.Pos())))
			}
		}
	}
	return findings
}

// lineCount is the size of a package.
type lineCount struct{ files, lines, tests int }

func countLines(sources []source) map[string]lineCount {
	counts := map[string]lineCount{}
	for _, s := range sources {
		c := counts[s.pkg.name()]
		if s.test {
			c.tests += s.lines
		} else {
			c.files++
			c.lines += s.lines
		}
		counts[s.pkg.name()] = c
	}
	return counts
}

func printLines(out io.Writer, counts map[string]lineCount) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "package\tfiles\tlines\ttest lines\t")
	var sum lineCount
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		c := counts[name]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t\n", name, c.files, c.lines, c.tests)
		sum.files, sum.lines, sum.tests = sum.files+c.files, sum.lines+c.lines, sum.tests+c.tests
	}
	fmt.Fprintf(table, "all\t%d\t%d\t%d\t\n", sum.files, sum.lines, sum.tests)
	table.Flush()
}
