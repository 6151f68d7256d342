"""A training step of a preset in PyTorch: one for each line of input, its milliseconds as answer.

The first line is the run's configuration. Images are random; augmentation is not part of the step.
"""
import json, os, sys, time
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(os.cpu_count())
c = json.loads(sys.stdin.readline())
dim, heads, batch, side = c["projectionDim"], c["numHeads"], c["batchSize"], c["imageSize"]
patch, inner = c["patchSize"], c["numHeads"] * c["keyDim"]

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * inner), nn.Linear(inner, dim)
    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
        w = F.dropout((q @ k.transpose(-2, -1) * c["keyDim"] ** -0.5).softmax(-1), c["attentionDropout"])
        return self.out((w @ v).transpose(1, 2).reshape(b, n, inner))

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        hidden, last = c["transformerUnits"]
        self.n1, self.attention, self.n2 = nn.LayerNorm(dim), Attention(), nn.LayerNorm(dim)
        self.a, self.b = nn.Linear(dim, hidden), nn.Linear(hidden, last)
    def forward(self, x):
        x = x + self.attention(self.n1(x))
        y = self.b(F.dropout(F.gelu(self.a(self.n2(x))), c["mlpDropout"]))
        return x + F.dropout(F.gelu(y) if c["mlpLastActivation"] else y, c["mlpDropout"])

class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3, *c["convChannels"]]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip(widths, widths[1:]))
        tokens = (side // 2 ** len(self.convs)) ** 2 if self.convs else (side // patch) ** 2
        self.embed = None if self.convs else nn.Linear(3 * patch * patch, dim)
        self.position = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.blocks, self.norm = nn.Sequential(*(Block() for _ in range(c["transformerLayers"]))), nn.LayerNorm(dim)
        self.pool = nn.Linear(dim, 1) if c["pooling"] == "sequence" else None
        units = [tokens * dim if c["pooling"] == "flatten" else dim, *c["mlpHeadUnits"]]
        self.head = nn.ModuleList(nn.Linear(i, o) for i, o in zip(units, units[1:]))
        self.classify = nn.Linear(units[-1], c["numClasses"])
    def forward(self, x):
        for conv in self.convs:
            x = F.max_pool2d(conv(x).relu(), 3, 2, 1)
        if self.embed:
            x = self.embed(F.unfold(x, patch, stride=patch).transpose(1, 2))
        else:
            x = x.flatten(2).transpose(1, 2)
        x = self.norm(self.blocks(x + self.position))
        if c["pooling"] == "flatten":
            x = F.dropout(x.flatten(1), c["headDropout"])
        else:
            x = (self.pool(x).softmax(1) * x).sum(1) if self.pool else x.mean(1)
        for layer in self.head:
            x = F.dropout(F.gelu(layer(x)), c["headDropout"])
        return self.classify(x)

model = ViT()
optimizer = torch.optim.AdamW(model.parameters(), c["learningRate"], weight_decay=c["weightDecay"], foreach=True)
images, labels = torch.randn(batch, 3, side, side), torch.randint(c["numClasses"], (batch,))
for _ in sys.stdin:
    start = time.perf_counter()
    loss = F.cross_entropy(model(images), labels, label_smoothing=c["labelSmoothing"])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    loss.item()
    print((time.perf_counter() - start) * 1000, flush=True)
