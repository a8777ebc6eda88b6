"""A training loop of two processes under torchrun, stopped and begun again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import REPOSITORY
from tests.extras import needs

needs("torch")
needs("torchdata.stateful_dataloader")

TRAIN = """
import os, sys
import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel
from torchdata.stateful_dataloader import StatefulDataLoader
from curator_audio.training import ShardDataset

folder, last_step = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo")
checkpoint = f"{folder}/checkpoint-{torch.distributed.get_rank()}.pt"
dataset = ShardDataset(f"{folder}/shards", columns=["id"], shuffle=True, equal_ranks=True)
loader = StatefulDataLoader(dataset, batch_size=3, num_workers=1, collate_fn=list)
model = DistributedDataParallel(torch.nn.Linear(1, 1))
epoch = step = 0
if os.path.exists(checkpoint):
    saved = torch.load(checkpoint)
    epoch, step = saved["epoch"], saved["step"]
    loader.load_state_dict(saved["loader"])
for epoch in range(epoch, 2):
    dataset.set_epoch(epoch)
    for batch in loader:
        ids = [sample["id"] for sample in batch]
        model(torch.tensor(ids, dtype=torch.float32)[:, None]).sum().backward()  # waits for the other process
        with open(f"{folder}/read-{epoch}", "a") as file:
            file.write("".join(f"{number}\\n" for number in ids))
        step += 1
        if step == last_step:
            torch.save({"epoch": epoch, "step": step, "loader": loader.state_dict()}, checkpoint)
            os._exit(0)
"""


def test_two_processes_read_each_sample_once_a_pass_stopped_or_not(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for shard, size in enumerate([7, 12, 1, 4]):
        ids = [100 * shard + number for number in range(size)]
        pq.write_table(pa.table({"id": ids}), tmp_path / "shards" / f"{shard}.parquet", row_group_size=5)
    (tmp_path / "train.py").write_text(TRAIN)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    for last_step in (6, 0):  # in the second pass, of 4 steps each
        command = [*launch, f"{tmp_path}/train.py", str(tmp_path), str(last_step)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    expected = [0, 1, 2, 3, 4, 5, 6, *range(100, 112), 200, 300, 301, 302, 303]
    for epoch in (0, 1):
        assert sorted(map(int, (tmp_path / f"read-{epoch}").read_text().split())) == expected
