package ecosystem

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSchema: what Read takes fits the schema, and what it refuses for its form
// does not.
func TestSchema(t *testing.T) {
	t.Parallel()
	s := newSchema(t)
	good := []string{"cluster", "commands", "consul", "env-partly", "env-none", "everything", "no-effect", "life", "order-env", "order-wrong", "logs", "one-app", "package", "sharing", "sharing-fork", "sharing-yaml", "slides-one", "slides-two"}
	bad := []string{"consul-wrong", "life-wrong-yaml", "logs-wrong", "mistakes", "one-app-typo", "sharing-wrong", "wrong-root", "empty-list"}
	for _, name := range append(good, bad...) {
		text, err := os.ReadFile("testdata/" + name + ".txt")
		must(t, err)
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "-- "), " --\n")
		data, _, _ := cutSections(string(text))
		r := &reader{name: title, world: newWorld(Options{Dir: "/"})}
		var root *node
		if strings.HasSuffix(title, ".yaml") || strings.HasSuffix(title, ".yml") {
			root = r.yaml(data)
		} else {
			root = r.json(data)
		}
		if root == nil {
			t.Fatalf("%s: %v", name, r.problems)
		}
		if filepath.Base(title) == "package.json" {
			root = root.get("pm2")
		}
		isBad := slices.Contains(bad, name)
		if err := s.check(s.root, plainValue(root), ""); (err != nil) != isBad {
			t.Errorf("%s: %v, want an error: %v", name, err, isBad)
		}
	}
	examples, err := filepath.Glob("../examples/*/*.json")
	must(t, err)
	for _, path := range examples {
		others := []string{"package.json", "flows.json"} // npm's and Node-RED's
		if slices.Contains(others, filepath.Base(path)) || strings.Contains(path, "mistakes") {
			continue
		}
		data, err := os.ReadFile(path)
		must(t, err)
		root := (&reader{world: newWorld(Options{Dir: "/"})}).json(data)
		if err := s.check(s.root, plainValue(root), ""); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSchemaTypes: field by field, the schema refuses what Read refuses.
func TestSchemaTypes(t *testing.T) {
	t.Parallel()
	s := newSchema(t)
	p := newProject(t)
	p.file("vars", "")
	values := []string{`"x"`, `3`, `-3`, `1.5`, `true`, `null`, `[]`, `["a", 1]`, `[[1]]`, `{"a": 1}`, `"10s"`, `"10M"`, `"12"`, `""`, `70000`, `"max"`, `"SIGTERM"`}
	for i := range table {
		f := &table[i]
		text, asText := sample(f)
		var list []string
		if list = append(values, text); asText != "" {
			list = append(list, jsonString(asText))
		}
		for _, value := range append(list, f.example) {
			if value == "" {
				continue
			}
			file := `[{"script": "app.js", "` + f.name + `": ` + value + `}]`
			if f.name == "script" {
				file = `[{"script": ` + value + `}]`
			}
			_, err := p.read("e.json", file)
			root := (&reader{world: newWorld(Options{Dir: "/"})}).json([]byte(file))
			schemaErr := s.check(s.root, plainValue(root), "")
			if err == nil && schemaErr != nil {
				t.Errorf("%s is read, but the schema says: %v", file, schemaErr)
			}
			// Of the form alone the schema has to know.
			if err != nil && schemaErr == nil && strings.Contains(err.Error(), ": want ") && (strings.HasSuffix(value, "]") || strings.HasSuffix(value, "}")) {
				t.Errorf("%s fits the schema, but: %v", file, err)
			}
		}
	}
}

// plainValue is a node as encoding/json would have it.
func plainValue(n *node) any {
	switch n.kind {
	case kindBool:
		return n.text == "true"
	case kindNumber:
		f, _ := strconv.ParseFloat(n.text, 64)
		return f
	case kindText:
		return n.text
	case kindList:
		all := []any{}
		for _, item := range n.items {
			all = append(all, plainValue(item))
		}
		return all
	case kindObject:
		all := map[string]any{}
		for _, m := range n.members {
			all[m.name] = plainValue(m.value)
		}
		return all
	}
	return nil
}

// schema is as much of a validator as the keywords of Schema need; a keyword that
// it does not know fails the test.
type schema struct{ root map[string]any }

func newSchema(t *testing.T) schema {
	t.Helper()
	var s schema
	must(t, json.Unmarshal(Schema(), &s.root))
	return s
}

func (s schema) check(rules map[string]any, v any, path string) error {
	for keyword, rule := range rules {
		if err := s.keyword(keyword, rule, rules, v, path); err != nil {
			return err
		}
	}
	return nil
}

func (s schema) keyword(keyword string, rule any, rules map[string]any, v any, path string) error {
	object, isObject := v.(map[string]any)
	list, isList := v.([]any)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	fail := func(isWrong bool) error {
		if isWrong {
			return fmt.Errorf("%s: %v is not %s %v", path, v, keyword, rule)
		}
		return nil
	}
	switch keyword {
	case "$schema", "$defs", "title", "description", "examples", "deprecated":
	case "$ref":
		at := any(s.root)
		for _, part := range strings.Split(rule.(string), "/")[1:] {
			at = at.(map[string]any)[part]
		}
		return s.check(at.(map[string]any), v, path)
	case "anyOf":
		var errs []string
		for _, one := range rule.([]any) {
			err := s.check(one.(map[string]any), v, path)
			if err == nil {
				return nil
			}
			errs = append(errs, err.Error())
		}
		return fmt.Errorf("%s", strings.Join(errs, "\nor "))
	case "enum":
		return fail(!contains(rule.([]any), v))
	case "type":
		types, several := rule.([]any)
		if !several {
			types = []any{rule}
		}
		return fail(!contains(types, typeOf(v)) && !(contains(types, "number") && typeOf(v) == "integer"))
	case "minimum":
		return fail(isNumber && number < rule.(float64))
	case "maximum":
		return fail(isNumber && number > rule.(float64))
	case "minLength":
		return fail(isText && len(text) < int(rule.(float64)))
	case "minItems":
		return fail(isList && len(list) < int(rule.(float64)))
	case "pattern":
		return fail(isText && !regexp.MustCompile(rule.(string)).MatchString(text))
	case "required":
		for _, name := range rule.([]any) {
			if _, has := object[name.(string)]; isObject && !has {
				return fail(true)
			}
		}
	case "items":
		for i, item := range list {
			if err := s.check(rule.(map[string]any), item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case "propertyNames":
		for name := range object {
			if err := s.check(rule.(map[string]any), name, path); err != nil {
				return err
			}
		}
	case "properties", "patternProperties", "additionalProperties":
		return s.properties(rules, object, path)
	default:
		return fmt.Errorf("the schema has the unknown keyword %q", keyword)
	}
	return nil
}

func (s schema) properties(rules, v map[string]any, path string) error {
	properties, _ := rules["properties"].(map[string]any)
	patterns, _ := rules["patternProperties"].(map[string]any)
	for name, value := range v {
		at := path + "." + name
		rule, known := properties[name]
		if known {
			if err := s.check(rule.(map[string]any), value, at); err != nil {
				return err
			}
		}
		for pattern, rule := range patterns {
			// Go knows no (?!: see the one pattern that has it.
			if !strings.HasPrefix(name, strings.TrimPrefix(strings.TrimSuffix(pattern, "(?!file$).+$"), "^")) || name == "env_file" {
				continue
			}
			known = true
			if err := s.check(rule.(map[string]any), value, at); err != nil {
				return err
			}
		}
		if !known && rules["additionalProperties"] == false {
			return fmt.Errorf("%s: no such property", at)
		}
		if others, restricted := rules["additionalProperties"].(map[string]any); !known && restricted {
			if err := s.check(others, value, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func contains(list []any, v any) bool {
	for _, x := range list {
		if reflect.DeepEqual(x, v) {
			return true
		}
	}
	return false
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	}
	return "object"
}
