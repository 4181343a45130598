// Command shape reports what no linter sees of the shape that this code keeps:
//
//   - control flow deeper than two levels, loops over ranges included;
//   - boolean parameters, whatever the function does with them;
//   - tests that wait for real time: time.Sleep outside of testing/synctest.
//
// It reads the module's Go files below the working directory and exits 1 if it
// reported anything. Only the last rule holds for tests.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxNesting is what a reader can hold without scrolling back to see where they are.
const maxNesting = 2

func main() {
	var found []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && ignored(entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		reports, err := check(path)
		found = append(found, reports...)
		return err
	})
	if err != nil {
		found = append(found, err.Error())
	}
	if len(found) > 0 {
		fmt.Println(strings.Join(found, "\n"))
		os.Exit(1)
	}
}

// ignored reports whether go's own ./... would pass over the directory.
func ignored(name string) bool {
	return name == "testdata" || name == "vendor" ||
		name != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_"))
}

// check parses one file and returns its reports, ready to print.
func check(path string) ([]string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	var found []string
	report := func(at ast.Node, text string) {
		found = append(found, fmt.Sprintf("%s: %s (shape)", files.Position(at.Pos()), text))
	}
	reportSleeps(file, report)
	if strings.HasSuffix(path, "_test.go") {
		return found, nil
	}
	for _, decl := range file.Decls {
		if function, ok := decl.(*ast.FuncDecl); ok {
			reportBooleans(function, report)
		}
		ast.Walk(nesting{report: report}, decl)
	}
	return found, nil
}

// reportSleeps reports each time.Sleep in a file that doesn't import testing/synctest.
func reportSleeps(file *ast.File, report func(ast.Node, string)) {
	for _, imported := range file.Imports {
		if imported.Path.Value == `"testing/synctest"` {
			return
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok && selector.Sel.Name == "Sleep" && isNamed(selector.X, "time") {
			report(selector, "time.Sleep waits for real time and for no context: use a timer, in tests testing/synctest")
		}
		return true
	})
}

// reportBooleans reports each parameter of type bool.
func reportBooleans(function *ast.FuncDecl, report func(ast.Node, string)) {
	for _, param := range function.Type.Params.List {
		if isNamed(param.Type, "bool") {
			report(param, function.Name.Name+" takes a boolean: make it two functions, or a type whose values have names")
		}
	}
}

func isNamed(expr ast.Expr, name string) bool {
	ident, ok := expr.(*ast.Ident)
	return ok && ident.Name == name
}

// nesting visits statements and knows how deep it is. A function literal starts
// anew; else-if stays on the level of its if.
type nesting struct {
	depth  int
	chain  *ast.IfStmt // the else-if that the visitor comes to next
	report func(ast.Node, string)
}

// Visit implements [ast.Visitor].
func (n nesting) Visit(node ast.Node) ast.Visitor {
	switch node := node.(type) {
	case *ast.FuncLit:
		return nesting{report: n.report}
	case *ast.IfStmt:
		return n.enterIf(node)
	case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt:
		return n.enter(node)
	}
	return n
}

func (n nesting) enterIf(stmt *ast.IfStmt) ast.Visitor {
	next := n
	if stmt != n.chain {
		next = n.enter(stmt)
	}
	next.chain, _ = stmt.Else.(*ast.IfStmt)
	return next
}

func (n nesting) enter(node ast.Node) nesting {
	n.depth++
	if n.depth == maxNesting+1 {
		n.report(node, fmt.Sprintf("nested deeper than %d levels: return early, or give the inner part a name", maxNesting))
	}
	return n
}
