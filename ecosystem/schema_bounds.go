package ecosystem

// boundsSchemas are the forms that the values of Bounds' fields may have.
func (k valueKind) boundsSchemas() []any {
	switch k {
	case niceValue:
		return []any{integer(-20, 19), pattern(wholeText)}
	case rlimitsValue:
		one := []any{object{"type": "integer", "minimum": Unlimited}, object{"type": "string", "minLength": 1}, object{"type": "null"}}
		return []any{object{"type": "object", "propertyNames": object{"pattern": "^[A-Za-z_]+$"}, "additionalProperties": object{"anyOf": one}}}
	case limitsValue:
		return []any{partsSchema(nil, object{
			"cpu":      partSchema("processors, or percents of one like \"50%\"", object{"type": "number", "minimum": 0}, pattern(`\s*[0-9.eE+-]+%?\s*`)),
			"memory":   partSchema("bytes, or a text like \"512M\"", sizeValue.schemas()...),
			"pids":     partSchema("processes and threads", countValue.schemas()...),
			"required": partSchema("without them it is not started (default: false)", boolValue.schemas()...),
		})}
	}
	return []any{object{}}
}
