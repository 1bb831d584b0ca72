"""RDMA ports: node_exporter's pages and the node agent's, put together."""
