package ecosystem

import (
	"bytes"
	"encoding/json"
	"strings"
)

// object is a part of a JSON Schema.
type object map[string]any

// Schema is a JSON Schema (2020-12) of the ecosystem file, made from the table of
// fields: for editors, and for whoever writes such files by program. It takes what
// Read takes, except for what only a look at the machine can tell.
func Schema() []byte {
	app := object{
		"type":                 "object",
		"description":          "one app",
		"properties":           appProperties(),
		"patternProperties":    object{"^env_(?!file$).+$": varsSchema("laid over env by --env"), "^x-": object{}},
		"additionalProperties": false,
		"anyOf":                scriptNeeded(),
	}
	list := object{"anyOf": []any{
		object{"type": "array", "items": object{"$ref": "#/$defs/app"}, "minItems": 1},
		object{"$ref": "#/$defs/app"},
	}}
	top := object{"$schema": object{"type": "string"}, "apps": list, "pm2": list,
		"deploy": deploySchema(), "static": object{"description": "not used: gopm serves no folders"},
		"consul": object{"$ref": "#/$defs/app/properties/consul", "description": "the default of all apps"}}
	file := func(name string) object {
		return object{"type": "object", "properties": top, "required": []string{name}, "patternProperties": object{"^x-": object{}}, "additionalProperties": false}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(object{ // texts, numbers and lists of them always encode
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "gopm ecosystem file",
		"description": "The apps that `gopm start` keeps running.",
		"anyOf":       []any{file("apps"), file("pm2"), list},
		"$defs":       object{"app": app},
	})
	return b.Bytes()
}

// scriptNeeded says that one of the script's names is there.
func scriptNeeded() []any {
	var any []any
	for _, name := range byName()["script"].names() {
		any = append(any, object{"required": []string{name}})
	}
	return any
}

// appProperties are all fields by all of their names.
func appProperties() object {
	all := object{"$schema": object{"type": "string"}, "deploy": deploySchema(), "static": object{}, "pm2": object{}}
	for i := range table {
		f := &table[i]
		for _, name := range f.names() {
			if name != f.name {
				all[name] = object{"$ref": "#/$defs/app/properties/" + f.name, "description": "the same as " + f.name}
			}
		}
		all[f.name] = f.schema()
	}
	return all
}

// schema is the schema of one field.
func (f *field) schema() object {
	text := f.doc
	switch f.stage {
	case stageFixed, stageNode:
		return object{"deprecated": true, "description": "no effect here: " + text}
	}
	s := object{}
	if f.kind == varsValue {
		s = varsSchema("")
	} else {
		s["anyOf"] = append(f.kind.schemas(), object{"type": "null"})
	}
	if f.def != "" {
		text += " (default: " + f.def + ")"
	}
	s["description"] = strings.ToUpper(text[:1]) + text[1:]
	s["examples"] = []any{json.RawMessage(f.example)}
	return s
}

func varsSchema(doc string) object {
	s := object{"type": []string{"object", "null"}, "propertyNames": object{"pattern": "^[^=]+$"}}
	if doc != "" {
		s["description"] = doc
	}
	return s
}

// wholeText is a whole number as a text.
const wholeText = `\s*[+-]?[0-9]+(\.0*)?([eE][+-]?[0-9]+)?\s*`

func scalarSchema() object { return object{"type": []string{"string", "number", "boolean"}} }

func integer(least, most int) object {
	return object{"type": "integer", "minimum": least, "maximum": most}
}

func pattern(p string) object { return object{"type": "string", "pattern": "^" + p + "$"} }

func words(list ...any) object { return object{"enum": list} }

func durationSchemas() []any {
	return []any{object{"type": "number", "minimum": 0}, pattern(`\s*[0-9.]+\s*(ms|s|m|h|d)?\s*`)}
}

// schemas are the forms that a kind's values may have.
func (k valueKind) schemas() []any {
	scalar := scalarSchema()
	switch k {
	case textValue, pathValue:
		return []any{scalar}
	case boolValue:
		return []any{words(true, false, "true", "false")}
	case countValue:
		return []any{object{"type": "integer", "minimum": 0}, pattern(wholeText)}
	case durationValue:
		return durationSchemas()
	case sizeValue:
		return []any{object{"type": "number", "minimum": 0}, pattern(`\s*[0-9.]+\s*[kKmMgGtT]?[iI]?[bB]?\s*`)}
	case shareValue:
		return append(sizeValue.schemas(), pattern(`\s*[0-9.]+\s*%\s*`))
	case wordsValue, textsValue:
		return []any{scalar, object{"type": "array", "items": scalar}}
	case codesValue:
		return []any{integer(0, 255), pattern("[0-9 ,]*"), object{"type": "array", "items": object{"anyOf": []any{integer(0, 255), pattern(wholeText)}}}}
	case instancesValue:
		return []any{object{"type": "integer", "maximum": maxInstances}, words("max"), pattern(wholeText)}
	case modeValue:
		return []any{words("fork", "cluster", "fork_mode", "cluster_mode")}
	case signalValue:
		return []any{integer(1, 64), pattern("[A-Za-z0-9]+")}
	case umaskValue:
		return []any{pattern("(0o)?[0-7]+"), object{"type": "integer"}}
	case portValue:
		return []any{integer(0, 65535), pattern(wholeText)}
	case inheritValue:
		return []any{words(true, false, "true", "false"), object{"type": "array", "items": scalar}}
	case filterValue:
		return []any{scalar, object{"type": "array", "items": scalar}}
	case logFileValue:
		return []any{object{"type": []string{"string", "boolean"}, "minLength": 1}}
	case logTypeValue:
		return []any{words("raw", "json")}
	case scheduleValue:
		return []any{object{"type": "string"}, words(0, false)}
	}
	return k.clusterSchemas()
}
