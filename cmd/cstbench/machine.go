package main

// machine is where figures come from. What is empty is not there, or does not say.
type machine struct {
	Processor string `json:"processor"`
	Cores     int    `json:"cores"`
	Memory    string `json:"memory"`
	Kernel    string `json:"kernel"`
	System    string `json:"system"`
	Go        string `json:"go"`
	Redis     string `json:"redis"`
	Nginx     string `json:"nginx"`
	Node      string `json:"node"`
}
