module github.com/cstproxy/cstproxy

go 1.26.0
